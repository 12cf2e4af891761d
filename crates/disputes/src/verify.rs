//! What holds of disputes and restrictions, for `ledger verify`.

use db::{Doing, Error, PgConnection};
use domain::dispute::CaseRecord;
use facts::conservation::Culprit;
use futures_util::{FutureExt, TryStreamExt};
use jobs::watch::time_text;
use jobs::{CheckSpec, Checked};
use sqlx::types::Json;
use std::fmt;
use std::time::Duration;
use time::OffsetDateTime;

pub const CHECKS: [CheckSpec; 3] = [
    CheckSpec {
        name: "disputes_read",
        rule: "each dispute stands as its record reads today",
        run: |connection, most| disputes_read(connection, most).boxed(),
    },
    CheckSpec {
        name: "disputes_recorded",
        rule: "each fact about a dispute that was settled stands in its record, and each record holds admitted facts alone",
        run: |connection, most| disputes_recorded(connection, most).boxed(),
    },
    CheckSpec {
        name: "standing_caused",
        rule: "what restricts an account has a cause that stands, and events last told just that",
        run: |connection, most| standing_caused(connection, most).boxed(),
    },
];

/// The record is read once more, by today's code.
async fn disputes_read(connection: &mut PgConnection, most: i64) -> Result<Checked, Error> {
    let mut checked = Checked::default();
    let mut rows = sqlx::query!(
        r#"select dispute, record as "record: Json<CaseRecord>", state, reopened, payment_ids, illegal_steps, is_early_warning,
                  opened_at, heard_at, evidence_due_by, amount, currency
           from disputes order by dispute"#
    )
    .fetch(connection);
    while let Some(row) = rows.try_next().await.doing("reading disputes")? {
        checked.checked += 1;
        let expected = row.record.0.read().map(|case| Summary {
            state: Some(case.state.to_string()),
            reopened: case.reopened.into(),
            illegal_steps: case.illegal_steps() as i64,
            is_early_warning: case.is_early_warning,
            opened_at: Some(stored_time(case.opened_at)),
            heard_at: Some(stored_time(case.heard_at)),
            due_by: case.evidence_due_by.map(stored_time),
            amount: case
                .amount
                .map(|amount| format!("{} {}", amount.amount().normalize(), amount.currency().code())),
            payments: case.payments.iter().map(|id| id.as_str().to_owned()).collect(),
        });
        let got = Summary {
            state: row.state,
            reopened: row.reopened.into(),
            illegal_steps: row.illegal_steps.into(),
            is_early_warning: row.is_early_warning,
            opened_at: row.opened_at,
            heard_at: row.heard_at,
            due_by: row.evidence_due_by,
            amount: row
                .amount
                .zip(row.currency)
                .map(|(amount, currency)| format!("{} {currency}", amount.normalize())),
            payments: row.payment_ids,
        };
        if expected.as_ref() != Some(&got) && checked.failed.len() as i64 <= most {
            checked.failed.push(Culprit {
                subject: row.dispute,
                expected: expected
                    .map_or_else(|| "no dispute without facts".to_owned(), |case| case.to_string()),
                got: got.to_string(),
            });
        }
    }
    Ok(checked)
}

/// What follows from a record, and stands beside it.
#[derive(PartialEq)]
struct Summary {
    state: Option<String>,
    reopened: i64,
    illegal_steps: i64,
    is_early_warning: bool,
    opened_at: Option<OffsetDateTime>,
    heard_at: Option<OffsetDateTime>,
    due_by: Option<OffsetDateTime>,
    amount: Option<String>,
    payments: Vec<String>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |at: &Option<OffsetDateTime>| at.map_or_else(|| "never".to_owned(), time_text);
        let state = self.state.as_deref().unwrap_or("no state");
        write!(f, "{state}, reopened {} times, {} illegal steps", self.reopened, self.illegal_steps)?;
        write!(f, ", opened {}, heard of {}", text(&self.opened_at), text(&self.heard_at))?;
        write!(f, ", due {}, of {}", text(&self.due_by), self.amount.as_deref().unwrap_or("no amount"))?;
        let early = if self.is_early_warning { ", an early warning" } else { "" };
        write!(f, "{early}, on {}", self.payments.join(" "))
    }
}

/// As Postgres keeps it: to the nearest microsecond.
fn stored_time(at: OffsetDateTime) -> OffsetDateTime {
    let rounded = at + Duration::from_nanos(500);
    rounded.replace_nanosecond(rounded.microsecond() * 1_000).expect("less than a second")
}

async fn disputes_recorded(connection: &mut PgConnection, most: i64) -> Result<Checked, Error> {
    let counted = sqlx::query_scalar!(
        r#"select count(*) as "count!" from outcomes
           where reader = 'disputes' and kind = 'fact.dispute' and outcome <> 'refused'"#
    )
    .fetch_one(&mut *connection)
    .await
    .doing("counting facts about disputes")?;
    let rows = sqlx::query_file!("src/verify/disputes_recorded.sql", most + 1)
        .fetch_all(connection)
        .await
        .doing("comparing facts about disputes with their records")?;
    let failed =
        rows.into_iter().map(|row| Culprit { subject: row.cause, expected: row.expected, got: row.got });
    Ok(Checked { checked: counted, failed: failed.collect() })
}

async fn standing_caused(connection: &mut PgConnection, most: i64) -> Result<Checked, Error> {
    let counted =
        sqlx::query_scalar!(r#"select count(*) as "count!" from restrictions where ended_at is null"#)
            .fetch_one(&mut *connection)
            .await
            .doing("counting restrictions")?;
    let rows = sqlx::query_file!("src/verify/standing_caused.sql", most + 1)
        .fetch_all(connection)
        .await
        .doing("comparing restrictions with their causes")?;
    let failed =
        rows.into_iter().map(|row| Culprit { subject: row.account, expected: row.expected, got: row.got });
    Ok(Checked { checked: counted, failed: failed.collect() })
}
