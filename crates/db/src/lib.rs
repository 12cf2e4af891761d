//! Postgres: the pool, the migrations, the transaction of a batch, and the outbox.
//!
//! SQL stands here only for what the whole fleet shares; a worker's own is in its `store.rs`. A function takes the
//! connection it works on; none opens its own transaction. Whether an error will pass is told by its SQLSTATE.

pub mod chain;
pub mod kept;
pub mod outbox;
pub mod processes;
pub mod roles;
pub mod suspects;
mod work;

pub use sqlx::PgConnection;
pub use work::Work;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection};
use std::future::Future;
use std::io;
use std::time::Duration;

pub type Pool = sqlx::PgPool;

/// Every table of the fleet. Migrations only go forward.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// How long a statement waits for a connection of the pool. Below the 4 s in which a webhook must have its answer.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that is given back answers within this, or it is closed: its statement may have been left without an
/// answer, and the driver would wait for that as long as the socket lives.
const RETURN_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the database URL: expected postgres://user:password@host:port/database: {0}")]
    Url(#[source] sqlx::Error),
    /// No connection, or no transaction on it: nothing was done, whatever the reason.
    #[error("the database is not to be had: {0}")]
    Away(#[source] sqlx::Error),
    #[error("the database, while {doing}: {source}")]
    Sql { doing: &'static str, source: sqlx::Error },
    /// Nothing came back, not even an error: the answer is lost, and whether it was done is not known.
    #[error("the database did not answer within {limit:?}, while {doing}")]
    Silent { doing: &'static str, limit: Duration },
    #[error("the migrations: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the role {role:?}: {why}")]
    Role { role: String, why: &'static str },
    /// Migrations are missing, and they are another role's to run.
    #[error(
        "the database's tables are not as this version needs them, or not granted to this role, and this role may not change them. \
         Run `bursar migrate` as the role that owns them (BURSAR_MIGRATE_URL)"
    )]
    NotOwner,
    #[error("what is stored as {what} cannot be read: {why}")]
    Stored { what: &'static str, why: String },
}

impl Error {
    pub fn stored(what: &'static str, why: impl ToString) -> Self {
        Error::Stored { what, why: why.to_string() }
    }

    /// The server or the way to it is away, or two transactions collided: the same work can succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Away(_) | Error::Silent { .. } => true,
            Error::Sql { source, .. } => is_transient(source),
            Error::Migrate(sqlx::migrate::MigrateError::Execute(source)) => is_transient(source),
            Error::Url(_)
            | Error::Migrate(_)
            | Error::Role { .. }
            | Error::NotOwner
            | Error::Stored { .. } => false,
        }
    }
}

impl Error {
    /// A function, a table or a column is not there: migrations are missing.
    pub fn is_unmigrated(&self) -> bool {
        match self {
            Error::Sql { source: sqlx::Error::Database(error), .. } => {
                error.code().is_some_and(|code| matches!(&*code, "42883" | "42P01" | "42703"))
            }
            Error::Sql { .. }
            | Error::Away(_)
            | Error::Silent { .. }
            | Error::Url(_)
            | Error::Migrate(_)
            | Error::Role { .. }
            | Error::NotOwner
            | Error::Stored { .. } => false,
        }
    }

    /// A statement took longer than `statement_timeout`. It may pass, and it may be what the statement was to do.
    pub fn is_hung(&self) -> bool {
        let Error::Sql { source: sqlx::Error::Database(error), .. } = self else { return false };
        error.code().as_deref() == Some(QUERY_CANCELED)
    }
}

/// SQLSTATE of a statement that was ended over its time.
const QUERY_CANCELED: &str = "57014";

/// Waits for the database no longer than `limit`. The driver has no limit of its own and sqlx knows no TCP keepalive: an
/// answer that is lost on the way (a firewall that forgot the connection, a failover) would be awaited for ever. What was
/// being asked is dropped, and its connection is closed unless it answers soon.
pub async fn within<T>(
    limit: Duration,
    doing: &'static str,
    asked: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(limit, asked).await.unwrap_or(Err(Error::Silent { doing, limit }))
}

/// Says what was being done when a statement failed.
pub trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, doing: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Sql { doing, source })
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
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_transient_sqlstate(&code)),
        _ => false,
    }
}

/// Appendix A of the Postgres manual: connection exceptions, resources, operator intervention, system errors,
/// serialization failures and deadlocks, lock not available; a read-only transaction is a failover in progress. Also a
/// database that is not what it should be (no login, no such database, no such table or right): that is no message's
/// fault, so work waits, loudly, until somebody mends it.
fn is_transient_sqlstate(code: &str) -> bool {
    matches!(code.get(..2), Some("08" | "28" | "3D" | "42" | "53" | "57" | "58"))
        || matches!(code, "40001" | "40P01" | "55000" | "55P03" | "25006" | "25P02")
}

/// A bounded pool. Nothing is connected yet: a fleet starts while its database is still away.
pub fn pool(url: &SecretString, connections_max: u32, name: &str) -> Result<Pool, Error> {
    Ok(pool_with(options(url, name)?, connections_max))
}

/// A pool for workers, which only ever look rows up by their keys. Postgres keeps a statement's plan: one made while a
/// table was small would scan it for every batch once it is large, so plans that read whole tables are ruled out.
pub fn worker_pool(url: &SecretString, connections_max: u32, name: &str) -> Result<Pool, Error> {
    let by_key =
        [("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off"), ("jit", "off")];
    Ok(pool_with(options(url, name)?.options(by_key), connections_max))
}

/// Reads the URL. Encryption is not asked for on this machine's own loopback unless the URL says so: it protects nothing
/// there, and the driver writes each 16 KiB record by itself without TCP_NODELAY, so that every larger statement waits
/// 40 ms for a delayed acknowledgement.
fn options(url: &SecretString, name: &str) -> Result<PgConnectOptions, Error> {
    let options: PgConnectOptions = url.expose_secret().parse().map_err(Error::Url)?;
    let is_loopback = matches!(options.get_host(), "localhost" | "127.0.0.1" | "::1" | "[::1]");
    let options = match options.get_ssl_mode() {
        PgSslMode::Prefer if is_loopback => options.ssl_mode(PgSslMode::Disable),
        _ => options,
    };
    Ok(options
        .application_name(name)
        // A worker that hangs in a transaction would hold back vacuum for everybody. A statement that waits for a lock must
        // end, and be tried again, before the loop takes its batch for one that hangs (30 s) and gives up on its facts.
        // The wait for a lock ends first, and by a code of its own: it is somebody else's fault.
        .options([
            ("idle_in_transaction_session_timeout", "60s"),
            ("lock_timeout", "10s"),
            ("statement_timeout", "15s"),
        ])
        .disable_statement_logging())
}

fn pool_with(options: PgConnectOptions, connections_max: u32) -> Pool {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_release(|connection, _| {
            Box::pin(async move {
                let answered = tokio::time::timeout(RETURN_TIMEOUT, connection.ping()).await;
                answered
                    .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
                    .map(|()| true)
            })
        })
        .connect_lazy_with(options)
}

/// SQLSTATE of a table that does not exist.
const UNDEFINED_TABLE: &str = "42P01";

/// Brings the tables to what this version needs. The pool is of a role that may.
pub async fn migrate(pool: &Pool) -> Result<(), Error> {
    if !roles::may_migrate(pool).await? {
        return Err(Error::NotOwner);
    }
    Ok(MIGRATIONS.run(pool).await?)
}

/// Whether the database answers and has every migration that this binary knows.
pub async fn is_ready(pool: &Pool) -> Result<bool, Error> {
    // Not checked at compile time: the table is the migrator's own.
    let applied: Result<i64, sqlx::Error> =
        sqlx::query_scalar("select count(*) from _sqlx_migrations where success").fetch_one(pool).await;
    let applied = match applied {
        // Not there, or not for this role to see.
        Err(sqlx::Error::Database(error))
            if matches!(error.code().as_deref(), Some(UNDEFINED_TABLE | roles::FORBIDDEN)) =>
        {
            0
        }
        asked => asked.doing("asking which migrations are applied")?,
    };
    Ok(applied >= MIGRATIONS.iter().count() as i64)
}

/// Whether the database takes a change within `patience`, until it is on disk: one whose disk does not answer still reads.
pub async fn answers(pool: &Pool, patience: Duration) -> bool {
    matches!(tokio::time::timeout(patience, change(pool)).await, Ok(Ok(())))
}

/// A row under a key that nobody else has, written and taken away.
async fn change(pool: &Pool) -> Result<(), Error> {
    let mut key = [0; 32];
    let (first, second) = key.split_at_mut(16);
    first.copy_from_slice(uuid::Uuid::now_v7().as_bytes());
    second.copy_from_slice(uuid::Uuid::now_v7().as_bytes());
    let mut transaction = pool.begin().await.map_err(Error::Away)?;
    suspects::tried(&mut transaction, &key, "nobody").await?;
    suspects::survived(&mut transaction, &key).await?;
    transaction.commit().await.doing("writing a change")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_by_its_sqlstate() {
        for code in ["08006", "57P01", "40001", "40P01", "53300", "58030", "3D000", "42P01", "28P01", "55000"]
        {
            assert!(is_transient_sqlstate(code), "{code}");
        }
        for code in ["23505", "23514", "22003", "22021", "", "2"] {
            assert!(!is_transient_sqlstate(code), "{code}");
        }
    }
}
