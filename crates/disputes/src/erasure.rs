//! Evidence packs are erased with their account: they hold what facts say of a person.
//!
//! A pack that is on its way to the processor stays until that is over: what was sent could not be told otherwise. Whoever
//! erases asks again then.

mod store;

use db::{Error, Pool, Work};
use domain::AccountId;
use facts::audit::{self, ActSubject, OperatorAct};
use serde::Serialize;
use time::OffsetDateTime;

/// Whose packs are to be erased, and who says so.
#[derive(Debug, Clone, Copy)]
pub struct PackErasure<'a> {
    pub account: &'a AccountId,
    /// Only what was made before.
    pub before: Option<OffsetDateTime>,
    pub by: &'a str,
    pub reason: &'a str,
}

/// What an erasure found of evidence packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ErasedPacks {
    pub erased: u64,
    /// They are on their way to the processor.
    pub left: u64,
}

/// Erases the evidence packs of an account's disputes, with what became of those that were submitted, and writes down in the same
/// transaction who did. Safe to repeat.
///
/// # Errors
/// Those of the database; also where nobody does it.
pub async fn forget(
    pool: &Pool,
    erasure: PackErasure<'_>,
    now: OffsetDateTime,
) -> Result<ErasedPacks, Error> {
    let PackErasure { account, before, by, reason } = erasure;
    let mut work = Work::new(pool.clone(), now);
    let erased = store::erase_packs(&mut work, account, before).await?;
    if erased > 0 {
        let act = OperatorAct {
            by,
            worker: "disputes",
            act: "erase_packs",
            subject: ActSubject::new("account", account.as_str()),
            account: Some(account),
            reason: Some(reason),
            details: Some(serde_json::json!({ "packs": erased })),
        };
        audit::write(&mut work, act).await?;
    }
    let left = store::packs_left(&mut work, account, before).await?;
    work.commit().await?;
    Ok(ErasedPacks { erased, left })
}
