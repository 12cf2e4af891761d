//! The passage of time: lots whose time has come are found and stated as facts, which the ledger settles like any other.

use crate::read;
use db::Pool;
use facts::{FactWriter, NowhereDurable};
use time::OffsetDateTime;

/// Why a pass did not come to its end. The next one finds what it left.
#[derive(Debug, thiserror::Error)]
pub enum ExpiryError {
    #[error(transparent)]
    Database(#[from] db::Error),
    #[error(transparent)]
    NowhereDurable(#[from] NowhereDurable),
}

/// One pass over all accounts; returns how many it stated. Any number of passes may run at once: those that see the same
/// state of an account state the same fact.
///
/// # Errors
/// Those of the database, and where neither RabbitMQ nor Postgres takes a fact. What was stated before stays stated.
pub async fn pass_once(pool: &Pool, facts: &FactWriter, now: OffsetDateTime) -> Result<usize, ExpiryError> {
    let mut stated = 0;
    let mut after = None;
    loop {
        let due = read::due(pool, after.as_ref(), now).await?;
        let Some(last) = due.last() else { return Ok(stated) };
        after = last.fact.account().cloned();
        stated += due.len();
        facts.state(due).await?;
    }
}
