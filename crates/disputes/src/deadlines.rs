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

/// A dispute's object went a way that none goes, or said what is not understood: somebody should look.
pub const UNEXPECTED: &str = "dispute_unexpected";

/// A dispute waits for its payment for long.
pub const WAITING: &str = "dispute_waiting";

pub const ALL: [&str; 3] = [DEADLINE, UNEXPECTED, WAITING];

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
                    about: format!("{} {due} {hours}h", row.dispute),
                    details: json!({ "dispute": row.dispute, "account": row.account, "payment": row.payment,
                        "state": row.state, "evidence_due_by": due, "hours_before": hours }),
                });
            }
        }
        Ok(conditions)
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
