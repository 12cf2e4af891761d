//! The transaction of one batch.

use crate::{Doing, Error, Pool};
use sqlx::{PgConnection, Postgres, Transaction};
use time::OffsetDateTime;

/// What a worker works in: the moment the batch was taken up, and a transaction that begins with its first use, so that
/// a worker which needs no database does not need one that answers.
pub struct Work {
    pool: Pool,
    transaction: Option<Transaction<'static, Postgres>>,
    statements: u64,
    /// The batch's time, to the microsecond that Postgres keeps. Workers read no clock of their own.
    pub now: OffsetDateTime,
}

impl Work {
    pub fn new(pool: Pool, now: OffsetDateTime) -> Self {
        let now = now.replace_nanosecond(now.microsecond() * 1000).unwrap_or(now);
        Self { pool, transaction: None, statements: 0, now }
    }

    /// Works in a transaction that has begun.
    pub fn within(pool: Pool, transaction: Transaction<'static, Postgres>, now: OffsetDateTime) -> Self {
        Self { transaction: Some(transaction), ..Self::new(pool, now) }
    }

    /// The connection for one statement; the first call begins the transaction.
    pub async fn connection(&mut self) -> Result<&mut PgConnection, Error> {
        self.statements += 1;
        if self.transaction.is_none() {
            self.transaction = Some(self.pool.begin().await.map_err(Error::Away)?);
        }
        Ok(self.transaction.as_mut().expect("it was begun just above"))
    }

    /// How many statements the batch has cost so far; it must not depend on the batch's size.
    pub fn statements(&self) -> u64 {
        self.statements
    }

    pub async fn commit(self) -> Result<(), Error> {
        match self.transaction {
            Some(transaction) => transaction.commit().await.doing("committing"),
            None => Ok(()),
        }
    }

    /// Ends the transaction without its changes. A connection that is gone has done so already.
    pub async fn abandon(self) {
        if let Some(transaction) = self.transaction {
            drop(transaction.rollback().await);
        }
    }
}
