//! Deadlines of evidence: operators are alerted ahead of them, once for each step, whichever process looks.

use db::{Doing, Error, PgConnection};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jobs::watch::{Condition, Findings, Watch, time_text};
use serde_json::json;
use std::time::Duration;
use time::OffsetDateTime;

/// Evidence is due soon, or was due: one alert for each case and step. A public name.
pub const DEADLINE: &str = "dispute_deadline";

/// The object of a dispute that has not ended went a way that none goes: somebody should look.
pub const UNEXPECTED: &str = "dispute_unexpected";

/// A dispute waits for its payment for long.
pub const WAITING: &str = "dispute_waiting";

/// What a processor says of disputes is not understood: a status that nobody knew, or a field that cannot be read. It is kept,
/// and admitted once a later version understands it.
pub const UNRECOGNISED: &str = "dispute_unrecognised";

pub const ALL: [&str; 4] = [DEADLINE, UNEXPECTED, WAITING, UNRECOGNISED];

/// After so long a dispute whose payment is still not known is told.
const WAITS_FOR: Duration = Duration::from_secs(86_400);

/// Alerts that are held at a time; a deployment with more open cases has other worries.
const ALERTS_MAX: i64 = 10_000;

/// Looks at deadlines, and at what nobody expected.
pub struct DisputeWatch {
    /// How long before the deadline, the longest first. At the deadline itself there is always one.
    steps: Vec<Duration>,
}

impl DisputeWatch {
    pub fn new(steps: Vec<Duration>) -> Self {
        Self { steps }
    }

    async fn find(&self, connection: &mut PgConnection, now: OffsetDateTime) -> Result<Findings, Error> {
        let mut findings = Findings::default();
        findings.holds.extend(self.deadlines(connection, now).await?);
        findings.holds.extend(waiting(connection, now).await?);
        findings.holds.extend(unexpected(connection).await?);
        findings.holds.extend(unrecognised(connection).await?);
        Ok(findings)
    }

    async fn deadlines(
        &self,
        connection: &mut PgConnection,
        now: OffsetDateTime,
    ) -> Result<Vec<Condition>, Error> {
        let furthest = self.steps.iter().max().copied().unwrap_or_default();
        let rows = sqlx::query!(
            r#"select dispute, account, payment, state as "state!", evidence_due_by as "due!" from disputes
               where evidence_due_by is not null and evidence_due_by <= $1
                 and state in ('warning', 'open', 'reopened')
               order by evidence_due_by, dispute limit $2"#,
            now + furthest,
            ALERTS_MAX,
        )
        .fetch_all(connection)
        .await
        .doing("looking at deadlines of evidence")?;
        let mut conditions = Vec::new();
        for row in &rows {
            let reached = self.steps.iter().copied().chain([Duration::ZERO]);
            for step in reached.filter(|step| now >= row.due - *step) {
                let hours = step.as_secs() / 3600;
                let due = time_text(row.due);
                conditions.push(Condition {
                    alert: DEADLINE,
                    about: format!("{} {due} {}", row.dispute, ahead(step)),
                    details: json!({ "dispute": row.dispute, "account": row.account, "payment": row.payment,
                        "state": row.state, "evidence_due_by": due, "hours_before": hours }),
                });
            }
        }
        Ok(conditions)
    }
}

/// Each step has a text of its own.
fn ahead(step: Duration) -> String {
    match step.as_secs() {
        seconds if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

async fn waiting(connection: &mut PgConnection, now: OffsetDateTime) -> Result<Option<Condition>, Error> {
    let row = sqlx::query!(
        r#"select count(*) as "count!", min(created_at) as oldest from disputes
           where account is null and payment is null and created_at < $1"#,
        now - WAITS_FOR,
    )
    .fetch_one(connection)
    .await
    .doing("looking for disputes whose payment is not known")?;
    Ok(row.oldest.map(|oldest| Condition {
        alert: WAITING,
        about: String::new(),
        details: json!({ "disputes": row.count, "oldest": time_text(oldest) }),
    }))
}

async fn unexpected(connection: &mut PgConnection) -> Result<Vec<Condition>, Error> {
    let rows = sqlx::query!(
        r#"select dispute, account, state as "state!", illegal_steps from disputes
           where illegal_steps > 0 and state in ('warning', 'open', 'under_review', 'reopened')
           order by dispute limit $1"#,
        ALERTS_MAX,
    )
    .fetch_all(connection)
    .await
    .doing("looking for disputes that went an unexpected way")?;
    let condition = |row: &_| {
        let Unexpected { dispute, account, state, illegal_steps } = row;
        Condition {
            alert: UNEXPECTED,
            about: dispute.clone(),
            details: json!({ "dispute": dispute, "account": account, "state": state, "steps": illegal_steps }),
        }
    };
    let rows = rows.into_iter().map(|row| Unexpected {
        dispute: row.dispute,
        account: row.account,
        state: row.state,
        illegal_steps: row.illegal_steps,
    });
    Ok(rows.map(|row| condition(&row)).collect())
}

/// One for each processor. Events about disputes that say nothing of a case are no matter: those that were known and could not be
/// read are.
async fn unrecognised(connection: &mut PgConnection) -> Result<Vec<Condition>, Error> {
    let rows = sqlx::query!(
        r#"select source, count(*) as "count!", min(admitted_at) as "oldest!", min(id) as "example!"
           from inbox
           where kind = 'fact.unrecognised'
             and (fact like '%"event_type":"charge.dispute.%' or fact like '%"event_type":"radar.early_fraud_warning.%'
                  or fact like '%"event_type":"adjustment.%')
             and fact::json ->> 'why' in ('value', 'malformed')
           group by source order by source"#,
    )
    .fetch_all(connection)
    .await
    .doing("looking for events about disputes that nobody understood")?;
    let condition = rows.into_iter().map(|row| Condition {
        alert: UNRECOGNISED,
        about: row.source.clone(),
        details: json!({ "processor": row.source, "events": row.count, "oldest": time_text(row.oldest),
            "example": row.example }),
    });
    Ok(condition.collect())
}

struct Unexpected {
    dispute: String,
    account: Option<String>,
    state: String,
    illegal_steps: i32,
}

impl Watch for DisputeWatch {
    fn alerts(&self) -> &'static [&'static str] {
        &ALL
    }

    fn look<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Findings, Error>> {
        self.find(connection, now).boxed()
    }
}
