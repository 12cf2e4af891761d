//! What jobs know of an account is forgotten before its time, because it is erased.
//!
//! What a job is to call is not taken from it before it has called: a refund that is under way would be lost, and nobody could
//! find out what became of a call whose end is unknown. So a job that is not at an end is left, and is said to be; the same for one that
//! was given up as long as its letter may be replayed. Whoever erases asks again once they are at an end.

use super::store;
use db::{Error, Pool, Work};
use domain::AccountId;
use facts::audit::{self, ActSubject, OperatorAct};
use serde::Serialize;
use time::OffsetDateTime;

/// Whose jobs are to be forgotten, and who says so.
#[derive(Debug, Clone, Copy)]
pub struct JobErasure<'a> {
    pub account: &'a AccountId,
    /// Only what was scheduled before.
    pub before: Option<OffsetDateTime>,
    pub by: &'a str,
    pub reason: &'a str,
}

/// What an erasure found of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ErasedJobs {
    /// Jobs at their end: of each its id and its state stay, as of a purged one.
    pub forgotten: u64,
    /// Jobs that are not at their end, or were given up and may be replayed: they keep their intent.
    pub left: u64,
}

/// Forgets the intents of an account's jobs that are at their end, and writes down in the same transaction who did. Safe to
/// repeat. Jobs that were scheduled by a version that did not know whose they are are reached by their retention alone.
///
/// # Errors
/// Those of the database; also where nobody does it.
pub async fn forget(pool: &Pool, erasure: JobErasure<'_>, now: OffsetDateTime) -> Result<ErasedJobs, Error> {
    let JobErasure { account, before, by, reason } = erasure;
    let mut work = Work::new(pool.clone(), now);
    let forgotten = store::forget(&mut work, account, before).await?;
    if forgotten > 0 {
        let act = OperatorAct {
            by,
            worker: "jobs",
            act: "forget",
            subject: ActSubject::new("account", account.as_str()),
            account: Some(account),
            reason: Some(reason),
            details: Some(serde_json::json!({ "jobs": forgotten })),
        };
        audit::write(&mut work, act).await?;
    }
    let left = store::not_forgotten(&mut work, account, before).await?;
    work.commit().await?;
    Ok(ErasedJobs { forgotten, left })
}
