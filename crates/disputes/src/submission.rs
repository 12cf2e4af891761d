//! Evidence handed to Stripe: an intent, two calls, and what became of them.
//!
//! ```text
//! requested ─► the pack is uploaded as a file ─► uploaded ─► the dispute is updated ─► staged, or submitted for good
//!      │                                            │
//!      └──── Stripe says no, with its words ────────┴─► refused            how it went cannot be told ─► unknown
//! ```
//!
//! The calls are jobs ([`jobs::Job`]): none is made twice whose end is not known. An upload whose end is not known may be made
//! again, for a file that nobody names does nothing. Whether an update arrived is asked of the dispute itself.

mod submit;
mod upload;

pub use submit::SubmitEvidence;
pub use upload::UploadEvidence;

use crate::code;
use bus::EmittedEvents;
use db::{Doing, Error, Pool, Work};
use domain::{AccountId, CaseId, PaymentId};
use facts::audit::{self, ActSubject, OperatorAct};
use jobs::http::{Endpoint, HttpCaller};
use jobs::{Delay, JobLimits, JobSubject, JobVerdict};
use processors::api::ApiAnswer;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

/// Where Stripe answers. None of it: Stripe is not called, and what was asked for waits for the key.
#[derive(Debug, Clone)]
pub struct StripeApi {
    pub api: Endpoint,
    /// Where files go.
    pub files: Endpoint,
}

/// How calls are made.
#[derive(Debug, Clone)]
pub struct Courier {
    pub caller: HttpCaller,
    pub stripe: Option<StripeApi>,
    /// Where packs are kept.
    pub pool: Pool,
}

/// What Stripe is to be sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SubmissionIntent {
    pub submission: String,
    pub case: CaseId,
    pub account: Option<AccountId>,
    pub payment: Option<PaymentId>,
    /// Of the pack, in hex.
    pub sha256: String,
    pub is_final: bool,
    /// Which field of evidence the pack's file goes into.
    pub file_field: String,
    /// Fields of evidence and what they say.
    pub texts: Vec<(String, String)>,
    /// Stripe's id of the file, once it is uploaded.
    pub file: Option<String>,
}

/// A submission as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Submission {
    pub submission: String,
    pub is_final: bool,
    pub by: String,
    pub reason: String,
    #[serde(with = "time::serde::rfc3339")]
    pub requested_at: OffsetDateTime,
    /// `requested`, `uploaded`, `staged`, `submitted`, `refused` or `unknown`.
    pub state: String,
    /// Stripe's words where it refused.
    pub answer: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
}

/// Who asks for a submission.
#[derive(Debug, Clone, Copy)]
pub struct AskedBy<'a> {
    pub by: &'a str,
    pub reason: &'a str,
}

/// Why nothing is handed over.
#[derive(Debug, thiserror::Error)]
pub enum NotRequested {
    #[error(
        "evidence of {0} went to the bank before, or is on its way there: it is sent once, and what was sent cannot be changed \
         (`bursar dispute show {0}`)"
    )]
    SentBefore(CaseId),
    #[error(transparent)]
    Database(#[from] Error),
}

/// Commits the intent to hand over a pack that is kept, and writes down who wanted it. Returns its id.
///
/// # Errors
/// [`NotRequested`]: evidence went to the bank before, unless it was refused there; those of the database.
pub async fn request(
    pool: &Pool,
    asked: AskedBy<'_>,
    intent: SubmissionIntent,
) -> Result<String, NotRequested> {
    let mut work = Work::new(pool.clone(), OffsetDateTime::now_utc());
    // Two who submit at once: the one who comes second sees what the first has written.
    sqlx::query!("select dispute from disputes where dispute = $1 for update", intent.case.as_str())
        .fetch_optional(work.connection().await?)
        .await
        .doing("locking a dispute")?;
    let is_sent = sqlx::query_scalar!(
        r#"select exists (select from evidence_submissions
                          where dispute = $1 and is_final and state <> 'refused') as "is_sent!""#,
        intent.case.as_str(),
    )
    .fetch_one(work.connection().await?)
    .await
    .doing("looking for evidence that was sent")?;
    if is_sent {
        return Err(NotRequested::SentBefore(intent.case));
    }
    let now = work.now;
    let id = format!("sub_{}", Uuid::now_v7().simple());
    let intent = SubmissionIntent { submission: id.clone(), ..intent };
    let sha256 = hex::decode(&intent.sha256).map_err(|error| Error::stored("a hash", error.to_string()))?;
    sqlx::query!(
        "insert into evidence_submissions (submission, dispute, sha256, is_final, by, reason, requested_at, state)
         values ($1, $2, $3, $4, $5, $6, $7, 'requested')",
        id,
        intent.case.as_str(),
        sha256,
        intent.is_final,
        asked.by,
        asked.reason,
        now,
    )
    .execute(work.connection().await?)
    .await
    .doing("noting a submission")?;
    let act = OperatorAct {
        by: asked.by,
        worker: "disputes",
        act: if intent.is_final { "submit_evidence" } else { "stage_evidence" },
        subject: ActSubject::new("case", intent.case.as_str()),
        account: intent.account.as_ref(),
        reason: Some(asked.reason),
        details: Some(serde_json::json!({ "submission": id, "sha256": intent.sha256 })),
    };
    audit::write(&mut work, act).await?;
    jobs::schedule::<UploadEvidence>(&mut work, &id, &intent).await?;
    work.commit().await?;
    Ok(id)
}

/// The submissions of a case, the latest last.
///
/// # Errors
/// Those of the database.
pub async fn of_case(pool: &Pool, case: &CaseId) -> Result<Vec<Submission>, Error> {
    sqlx::query_as!(
        Submission,
        "select submission, is_final, by, reason, requested_at, state, answer, ended_at from evidence_submissions
         where dispute = $1 order by requested_at, submission",
        case.as_str(),
    )
    .fetch_all(pool)
    .await
    .doing("reading the submissions of a dispute")
}

/// Notes how a submission stands. An end is final.
async fn note(work: &mut Work, submission: &str, now: Noted<'_>) -> Result<(), Error> {
    let at = now.is_end.then_some(work.now);
    sqlx::query!(
        "update evidence_submissions set state = $2, file = coalesce($3, file), answer = $4, ended_at = $5
         where submission = $1",
        submission,
        now.state,
        now.file,
        now.answer,
        at,
    )
    .execute(work.connection().await?)
    .await
    .doing("noting how a submission stands")?;
    Ok(())
}

/// How a submission stands now.
#[derive(Default)]
struct Noted<'a> {
    state: &'static str,
    file: Option<&'a str>,
    answer: Option<&'a str>,
    is_end: bool,
}

/// Without a key nothing is sent: it waits for one.
const NO_KEY: &str = "stripe.api_key is not configured";

/// What a letter about it says.
fn about(intent: &SubmissionIntent) -> JobSubject {
    JobSubject { account: intent.account.clone(), payment: intent.payment.clone(), ..JobSubject::default() }
}

/// One call for each dispute at a time, and no more than Stripe lets us (25 writes a second by endpoint). Megabytes take longer
/// than most calls do.
fn limits() -> JobLimits {
    JobLimits {
        of_kind: 4,
        call: Duration::from_secs(80),
        lease: Duration::from_secs(180),
        ..JobLimits::default()
    }
}

/// What Stripe's answer means for a call. `written`: what the key must be allowed to write for it.
fn verdict<T>(answer: &ApiAnswer<T>, written: &str) -> JobVerdict {
    match answer {
        ApiAnswer::Is(_) => JobVerdict::Done,
        ApiAnswer::Absent(refusal) | ApiAnswer::Refused(refusal) => {
            JobVerdict::GaveUp(code::EVIDENCE_REFUSED, refusal.to_string())
        }
        ApiAnswer::NotPermitted(refusal) => JobVerdict::GaveUp(
            code::NOT_PERMITTED,
            format!("{refusal}: is stripe.api_key right, and may it write {written}?"),
        ),
        ApiAnswer::NotNow(refusal) => JobVerdict::Again(Delay::Backoff, refusal.to_string()),
        ApiAnswer::Unclear(refusal) => JobVerdict::Unknown(Delay::Backoff, refusal.to_string()),
    }
}

/// It was given up: what Stripe said, or that nobody knows.
async fn end_without(
    work: &mut Work,
    intent: &SubmissionIntent,
    code: &str,
    why: &str,
) -> Result<Option<EmittedEvents>, crate::Error> {
    let state =
        if code == code::EVIDENCE_REFUSED || code == code::NOT_PERMITTED { "refused" } else { "unknown" };
    note(work, &intent.submission, Noted { state, answer: Some(why), is_end: true, ..Noted::default() })
        .await?;
    Ok(None)
}
