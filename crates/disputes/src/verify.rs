//! What holds of disputes and restrictions, for `ledger verify`.

use db::{Doing, Error, PgConnection};
use domain::dispute::CaseRecord;
use facts::conservation::Culprit;
use futures_util::{FutureExt, TryStreamExt};
use jobs::{CheckSpec, Checked};
use sqlx::types::Json;

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
        r#"select dispute, record as "record: Json<CaseRecord>", state, reopened, payment_ids, illegal_steps
           from disputes order by dispute"#
    )
    .fetch(connection);
    while let Some(row) = rows.try_next().await.doing("reading disputes")? {
        checked.checked += 1;
        let reads = row.record.0.read();
        let expected = reads.as_ref().map(|case| {
            let ids: Vec<&str> = case.payments.iter().map(|id| id.as_str()).collect();
            summary(case.state.as_str(), case.reopened.into(), case.illegal_steps() as i64, &ids)
        });
        let ids: Vec<&str> = row.payment_ids.iter().map(String::as_str).collect();
        let got = row.state.map(|state| summary(&state, row.reopened.into(), row.illegal_steps.into(), &ids));
        if expected != got && checked.failed.len() as i64 <= most {
            let nothing = || "nothing".to_owned();
            checked.failed.push(Culprit {
                subject: row.dispute,
                expected: expected.unwrap_or_else(nothing),
                got: got.unwrap_or_else(nothing),
            });
        }
    }
    Ok(checked)
}

fn summary(state: &str, reopened: i64, illegal_steps: i64, ids: &[&str]) -> String {
    format!("{state}, reopened {reopened} times, {illegal_steps} illegal steps, of {}", ids.join(" "))
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
