//! Why the database did not do what it was asked, and whether that passes.

use crate::renewal;
use crate::sqlstate::{Means, is_undefined, means};
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the database URL: {0}; expected postgres://user:password@host:port/database, several hosts separated by commas"
    )]
    Url(String),
    /// There is no connection, or no transaction could begin on it: nothing was done, whatever the reason.
    #[error("no connection to the database: {0}")]
    Away(#[source] sqlx::Error),
    /// None of its hosts serves, or it moved to another host meanwhile.
    #[error("the database: {0}")]
    Nowhere(String),
    #[error("the database takes no changes: it is a standby, or default_transaction_read_only is on")]
    ReadOnly,
    #[error(
        "there is a pooler in transaction or statement mode before the database, which mixes up prepared statements and sessions: use its session mode (PgBouncer: pool_mode = session), or connect without it"
    )]
    Pooled,
    #[error("the database, while {doing}: {source}")]
    Sql { doing: &'static str, source: sqlx::Error },
    /// Postgres sent no answer, not even an error: it is unknown whether the statement took effect.
    #[error("the database did not answer within {limit:?}, while {doing}")]
    Silent { doing: &'static str, limit: Duration },
    #[error("the migrations: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the role {role:?}: {why}")]
    Role { role: String, why: &'static str },
    /// Migrations are missing, and another role has to run them.
    #[error(
        "the database's tables are not as this version needs them, or not granted to this role, and this role may not change them. \
         Run `bursar migrate` as the role that owns them (BURSAR_MIGRATE_URL)"
    )]
    NotOwner,
    /// A fleet that works on the tables while they change loses what it writes, or cannot write any more.
    #[error(
        "there are migrations to run, and a fleet is at work on this database: {0}. Stop its workers first, then migrate, then start those of this version"
    )]
    AtWork(String),
    /// Migrations were applied that this version does not know.
    #[error(
        "the database's tables are not of this version: {0}. They are of a newer one, or of one that was never released: run that one"
    )]
    OtherTables(String),
    #[error("what is stored as {what} cannot be read: {why}")]
    Stored { what: &'static str, why: String },
}

impl Error {
    /// Something that is stored, and that this version cannot read.
    pub fn stored(what: &'static str, why: impl ToString) -> Self {
        Error::Stored { what, why: why.to_string() }
    }

    /// The server or the way to it is away, or two transactions collided: the same work can succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Away(_) | Error::Nowhere(_) | Error::ReadOnly | Error::Silent { .. } => true,
            Error::Sql { source, .. } => is_transient(source),
            Error::Migrate(sqlx::migrate::MigrateError::Execute(source)) => is_transient(source),
            Error::Migrate(sqlx::migrate::MigrateError::ExecuteMigration(source, _)) => is_transient(source),
            Error::Url(_)
            | Error::Pooled
            | Error::Migrate(_)
            | Error::Role { .. }
            | Error::NotOwner
            | Error::AtWork(_)
            | Error::OtherTables(_)
            | Error::Stored { .. } => false,
        }
    }

    /// Whether a function, a table or a column does not exist: migrations are missing.
    pub fn is_unmigrated(&self) -> bool {
        match self {
            Error::Sql { source: sqlx::Error::Database(error), .. } => {
                error.code().is_some_and(|code| is_undefined(&code))
            }
            Error::Sql { .. }
            | Error::Away(_)
            | Error::Nowhere(_)
            | Error::ReadOnly
            | Error::Pooled
            | Error::Silent { .. }
            | Error::Url(_)
            | Error::Migrate(_)
            | Error::Role { .. }
            | Error::NotOwner
            | Error::AtWork(_)
            | Error::OtherTables(_)
            | Error::Stored { .. } => false,
        }
    }

    /// Whether a statement took longer than `statement_timeout`. That may pass, or it may lie in what the statement was to do.
    pub fn is_hung(&self) -> bool {
        let Error::Sql { source: sqlx::Error::Database(error), .. } = self else { return false };
        error.code().is_some_and(|code| means(&code) == Some(Means::Hung))
    }
}

/// Says what was being done when a statement failed.
pub trait Doing<T> {
    /// # Errors
    /// [`Error::Sql`] with what was being done. Where every connection would meet the same error, all are made anew.
    fn doing(self, doing: &'static str) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, doing: &'static str) -> Result<T, Error> {
        self.map_err(|source| {
            renewal::notice(&source, doing);
            Error::Sql { doing, source }
        })
    }
}

fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| means(&code).is_some()),
        _ => false,
    }
}
