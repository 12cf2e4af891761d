//! The transaction of one batch.

use crate::error::{Doing, Error};
use crate::pool::Pool;
use sqlx::{PgConnection, Postgres, Transaction};
use time::OffsetDateTime;

/// How long work that gives way waits for a row that another transaction holds. Below Postgres' `deadlock_timeout` (1 s):
/// where it and a batch of the fleet wait for each other, it is the one that ends.
const GIVING_WAY: &str = "set local lock_timeout = '300ms'";

/// What a worker works in: the moment the batch was taken up, and a transaction that begins with its first use, so that
/// a worker which needs no database does not need one that answers.
pub struct Work {
    pool: Pool,
    transaction: Option<Transaction<'static, Postgres>>,
    statements: u64,
    gives_way: bool,
    /// The batch's time, to the microsecond that Postgres keeps. Workers read no clock of their own.
    pub now: OffsetDateTime,
}

impl Work {
    /// Work in a transaction of its own.
    pub fn new(pool: Pool, now: OffsetDateTime) -> Self {
        let now = now.replace_nanosecond(now.microsecond() * 1000).unwrap_or(now);
        Self { pool, transaction: None, statements: 0, gives_way: false, now }
    }

    /// Work in a transaction that has begun.
    pub fn within(pool: Pool, transaction: Transaction<'static, Postgres>, now: OffsetDateTime) -> Self {
        Self { transaction: Some(transaction), ..Self::new(pool, now) }
    }

    /// Work that gives way to others: where another transaction holds a row it fails after a moment, by an error that passes.
    /// For work that is rolled back in the end, and for a suspect: the process must not be ended while that waits.
    pub fn giving_way(pool: Pool, now: OffsetDateTime) -> Self {
        Self { gives_way: true, ..Self::new(pool, now) }
    }

    /// The connection for one statement; the first call begins the transaction.
    ///
    /// # Errors
    /// [`Error::Away`] where no transaction could begin.
    pub async fn connection(&mut self) -> Result<&mut PgConnection, Error> {
        self.statements += 1;
        if self.transaction.is_none() {
            let mut transaction = self.pool.begin().await.map_err(Error::Away)?;
            if self.gives_way {
                let limited = sqlx::raw_sql(GIVING_WAY).execute(&mut *transaction).await;
                limited.doing("limiting the wait for locks")?;
            }
            self.transaction = Some(transaction);
        }
        Ok(self.transaction.as_mut().expect("it was begun just above"))
    }

    /// Marks the place that [`Work::roll_back_to_savepoint`] leads back to. There is one at a time.
    ///
    /// # Errors
    /// Where the statement fails.
    pub async fn savepoint(&mut self) -> Result<(), Error> {
        self.execute("savepoint part", "setting a savepoint").await
    }

    /// What was done since the savepoint stays part of the transaction.
    ///
    /// # Errors
    /// Where the statement fails.
    pub async fn release_savepoint(&mut self) -> Result<(), Error> {
        self.execute("release savepoint part", "releasing a savepoint").await
    }

    /// What was done since the savepoint is undone; also a statement that failed, and would fail all that come after it.
    ///
    /// # Errors
    /// Where the statement fails: the transaction is of no use any more.
    pub async fn roll_back_to_savepoint(&mut self) -> Result<(), Error> {
        self.execute("rollback to savepoint part; release savepoint part", "going back to a savepoint").await
    }

    async fn execute(&mut self, statement: &'static str, doing: &'static str) -> Result<(), Error> {
        sqlx::raw_sql(statement).execute(self.connection().await?).await.doing(doing)?;
        Ok(())
    }

    /// How many statements the batch has cost so far; it must not depend on the batch's size.
    pub fn statements(&self) -> u64 {
        self.statements
    }

    /// Commits; nothing to do where no statement was made.
    ///
    /// # Errors
    /// Where Postgres does not say that it committed: it may have done so.
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
