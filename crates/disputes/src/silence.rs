//! Silence that counts as a decision: a Paddle case is never told to be lost, and an early warning of fraud never closes.
//!
//! The passage of time is a fact like any other: it is stated, settled once, and replayed by a rebuild.

use db::{Doing, Error, Pool};
use domain::dispute::{Case, CaseRecord, CaseState};
use domain::fact::{Dispute, DisputeStatus};
use domain::{CaseId, Cause, Envelope, Fact};
use facts::{FactWriter, NowhereDurable};
use sqlx::types::Json;
use std::time::Duration;
use time::OffsetDateTime;

/// The source of these facts.
pub const SOURCE: &str = "bursar/silence";

/// Cases stated at a time.
const AT_ONCE: i64 = 200;

/// Why a pass did not come to its end. The next one finds what it left.
#[derive(Debug, thiserror::Error)]
pub enum SilenceError {
    #[error(transparent)]
    Database(#[from] Error),
    #[error(transparent)]
    NowhereDurable(#[from] NowhereDurable),
}

/// States the cases that have been silent for too long, a page at a time. Any number of processes may do it at once: of one silence all
/// state the same fact. What was stated is found again until it is settled.
pub async fn step(
    pool: &Pool,
    writer: &FactWriter,
    silence: Duration,
    now: OffsetDateTime,
) -> Result<(), SilenceError> {
    let mut after = (OffsetDateTime::UNIX_EPOCH, String::new());
    loop {
        let (silent, last) = silent(pool, now - silence, silence, &after).await?;
        if !silent.is_empty() {
            tracing::info!(cases = silent.len(), "disputes count as decided by silence");
            writer.state(silent).await?;
        }
        match last {
            Some(last) => after = last,
            None => return Ok(()),
        }
    }
}

/// Where a page ends: when the case was heard of, and its id.
type PageEnd = (OffsetDateTime, String);

/// A page of silent cases, and where it ended if there may be more.
async fn silent(
    pool: &Pool,
    before: OffsetDateTime,
    silence: Duration,
    (heard_at, case): &PageEnd,
) -> Result<(Vec<Envelope>, Option<PageEnd>), Error> {
    let mut connection = pool.acquire().await.doing("taking a connection")?;
    let rows = sqlx::query!(
        r#"select dispute, heard_at as "heard_at!", record as "record: Json<CaseRecord>" from disputes
           where state in ('warning', 'open', 'under_review', 'reopened') and heard_at < $1
             and (dispute like 'paddle:%' or is_early_warning) and (heard_at, dispute) > ($3, $4)
           order by heard_at, dispute limit $2"#,
        before,
        AT_ONCE,
        heard_at,
        case,
    )
    .fetch_all(&mut *connection)
    .await
    .doing("looking for silent disputes")?;
    let is_full = rows.len() as i64 == AT_ONCE;
    let last = rows.last().filter(|_| is_full).map(|row| (row.heard_at, row.dispute.clone()));
    let cases = rows.into_iter().map(|row| {
        let id: CaseId = row.dispute.parse().map_err(|error| Error::stored("a dispute id", error))?;
        Ok(row.record.0.read().and_then(|case| decided(&id, &case, silence)))
    });
    let silent = cases.filter_map(Result::transpose).collect::<Result<_, Error>>()?;
    Ok((silent, last))
}

/// That a case counts as decided: named by the case and the last that was heard of it, so that all who see it state the same.
fn decided(id: &CaseId, case: &Case, silence: Duration) -> Option<Envelope> {
    let mut ids = case.payments.iter().cloned();
    let at = case.heard_at + silence;
    let fact = Dispute {
        dispute: id.id().to_owned(),
        payment: ids.next()?,
        aliases: ids.collect(),
        // Of a warning nothing came.
        status: match case.state {
            CaseState::Warning => DisputeStatus::Prevented,
            _ => DisputeStatus::Lost,
        },
        amount: None,
        reason: None,
        evidence_due_by: None,
        round: case.round.clone(),
        began_at: Some(case.heard_at),
        is_early_warning: false,
        is_refundable: None,
        network_reason: None,
        fee: None,
        by: None,
        by_silence: true,
        occurred_at: at,
    };
    let cause = Cause {
        source: SOURCE.to_owned(),
        // One identity for one content: what is known of the case, and how long a silence counts.
        id: format!(
            "{id}/{}.{}.{}",
            case.heard_at.unix_timestamp_nanos() / 1_000,
            silence.as_secs(),
            case.steps.len()
        ),
    };
    Some(Envelope {
        cause,
        time: at,
        received_at: None,
        traceparent: None,
        raw: None,
        fact: Fact::Dispute(fact),
    })
}
