//! Postgres: the pool, the migrations, the transaction of a batch, and the outbox.
//!
//! SQL stands here only for what the whole fleet shares; a worker's own is in its `store.rs`. A function takes the
//! connection it works on; none opens its own transaction. Whether an error will pass is told by its SQLSTATE.

pub mod chain;
mod hosts;
pub mod outbox;
pub mod processes;
mod renewal;
pub mod roles;
pub mod spool;
mod sqlstate;
pub mod standbys;
pub mod suspects;
mod urls;
mod work;

pub use hosts::{Hosts, expect_sessions, place, unless_moved};
pub use sqlx::PgConnection;
pub use urls::{ServerUrl, whole_urls};
pub use work::Work;

use secrecy::SecretString;
use sqlstate::{Means, means};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection};
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

pub type Pool = sqlx::PgPool;

/// Every table of the fleet. Migrations only go forward.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// How long a statement waits for a connection of the pool. Below the 4 s in which a webhook must have its answer.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that idled answers within this, or another is made.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that is given back answers within this, or it is closed: its statement may have been left without an
/// answer, and the driver would wait for that as long as the socket lives.
const RETURN_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the database URL: {0}; expected postgres://user:password@host:port/database, several hosts separated by commas"
    )]
    Url(String),
    /// No connection, or no transaction on it: nothing was done, whatever the reason.
    #[error("the database is not to be had: {0}")]
    Away(#[source] sqlx::Error),
    /// None of its hosts, or not where it just was.
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
    /// Who works on the tables while they change loses what it writes, or cannot write any more.
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

    /// A statement took longer than `statement_timeout`. It may pass, and it may be what the statement was to do.
    pub fn is_hung(&self) -> bool {
        let Error::Sql { source: sqlx::Error::Database(error), .. } = self else { return false };
        error.code().is_some_and(|code| means(&code) == Some(Means::Hung))
    }
}

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

/// A bounded pool. Nothing is connected yet: a fleet starts while its database is still away.
pub fn pool(url: &SecretString, connections_max: u32, name: &str) -> Result<Pool, Error> {
    Ok(pool_with(Hosts::read(url, name)?, &LIMITS, connections_max))
}

/// A pool for workers, which only ever look rows up by their keys. Postgres keeps a statement's plan: one made while a
/// table was small would scan it for every batch once it is large, so plans that read whole tables are ruled out.
pub fn worker_pool(url: &SecretString, connections_max: u32, name: &str) -> Result<Pool, Error> {
    let settings = [&LIMITS[..], &BY_KEY].concat();
    Ok(pool_with(Hosts::read(url, name)?, &settings, connections_max))
}

type Setting = (&'static str, &'static str);

/// A worker that hangs in a transaction would hold back vacuum for everybody. A statement that waits for a lock must end, and
/// be tried again, before the loop takes its batch for one that hangs (30 s) and gives up on its facts. The wait for a lock
/// ends first, and by a code of its own: it is somebody else's fault.
const LIMITS: [Setting; 3] =
    [("idle_in_transaction_session_timeout", "60s"), ("lock_timeout", "10s"), ("statement_timeout", "15s")];

const BY_KEY: [Setting; 4] =
    [("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off"), ("jit", "off")];

/// One of several hosts is turned to another for as long as the pool is not closed; until then something holds it.
///
/// Settings are set on each connection once it is there: at its start a pooler may refuse or forget them.
fn pool_with(hosts: Hosts, settings: &[Setting], connections_max: u32) -> Pool {
    let settings: String = settings.iter().map(|(name, value)| format!("set {name} = '{value}';")).collect();
    let settings = Arc::<str>::from(settings);
    let several = hosts.all().len() > 1;
    let pool = PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // Below, with a limit of its own.
        .test_before_acquire(false)
        .before_acquire(|connection, met| {
            Box::pin(async move {
                Ok(renewal::is_current(met.age) && answers_within(connection, IDLE_TIMEOUT).await.is_ok())
            })
        })
        .after_connect(move |connection, _| {
            let settings = settings.clone();
            Box::pin(async move {
                expect_changes(connection, several).await?;
                // Names and values are those just above.
                sqlx::raw_sql(AssertSqlSafe(settings)).execute(connection).await?;
                Ok(())
            })
        })
        .after_release(|connection, met| {
            Box::pin(async move {
                match renewal::is_current(met.age) {
                    true => answers_within(connection, RETURN_TIMEOUT).await.map(|()| true),
                    false => Ok(false),
                }
            })
        })
        .connect_lazy_with(hosts.all()[0].clone());
    if several {
        tokio::spawn(hosts::follow(pool.clone(), hosts));
    }
    pool
}

async fn answers_within(connection: &mut PgConnection, limit: Duration) -> Result<(), sqlx::Error> {
    let answered = tokio::time::timeout(limit, connection.ping()).await;
    answered.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}

/// Of several hosts only one that can be written is let in; a single one may be a standby, which commands read from.
async fn expect_changes(connection: &mut PgConnection, several: bool) -> Result<(), sqlx::Error> {
    match !several || hosts::takes_changes(connection).await? {
        true => Ok(()),
        false => Err(sqlx::Error::Configuration(hosts::CANNOT_BE_WRITTEN.into())),
    }
}

/// SQLSTATE of a table that does not exist.
const UNDEFINED_TABLE: &str = "42P01";

/// Brings the tables to what this version needs. The pool is of a role that may. While workers are connected nothing is changed.
pub async fn migrate(pool: &Pool) -> Result<(), Error> {
    if !roles::may_migrate(pool).await? {
        return Err(Error::NotOwner);
    }
    // In this order: workers that another process started meanwhile have found the tables as they should be.
    let workers = processes::workers(pool).await?;
    if !workers.is_empty() && !is_ready(pool).await? {
        let told =
            workers.iter().map(|(name, connections)| format!("{connections} connections named {name:?}"));
        return Err(Error::AtWork(told.collect::<Vec<_>>().join(", ")));
    }
    Ok(MIGRATIONS.run(pool).await?)
}

/// Whether the database has every migration that this binary knows. Others than those are an error, and so is a database that
/// takes no changes.
pub async fn is_ready(pool: &Pool) -> Result<bool, Error> {
    let mut connection = pool.acquire().await.map_err(Error::Away)?;
    if !hosts::takes_changes(&mut connection).await.doing("asking whether it takes changes")? {
        return Err(Error::ReadOnly);
    }
    drop(connection);
    // Not checked at compile time: the table is the migrator's own.
    let applied: Result<Vec<Applied>, sqlx::Error> =
        sqlx::query_as("select version, checksum from _sqlx_migrations where success order by version")
            .fetch_all(pool)
            .await;
    let applied = match applied {
        // Not there, or not for this role to see.
        Err(sqlx::Error::Database(error))
            if matches!(error.code().as_deref(), Some(UNDEFINED_TABLE | roles::FORBIDDEN)) =>
        {
            Vec::new()
        }
        asked => asked.doing("asking which migrations are applied")?,
    };
    let known: Vec<Applied> =
        MIGRATIONS.iter().map(|migration| (migration.version, migration.checksum.to_vec())).collect();
    is_complete(&known, &applied)
}

/// The version of a migration, and its checksum.
type Applied = (i64, Vec<u8>);

fn is_complete(known: &[Applied], applied: &[Applied]) -> Result<bool, Error> {
    for (version, checksum) in applied {
        match known.iter().find(|(known, _)| known == version) {
            None => {
                return Err(Error::OtherTables(format!(
                    "they have the migration {version}, which it does not know"
                )));
            }
            Some((_, known)) if known != checksum => {
                return Err(Error::OtherTables(format!(
                    "the migration {version} was another one when it was applied"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(known.len() == applied.len())
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
    fn a_database_is_ready_by_its_migrations_and_not_by_their_number() {
        let of = |versions: &[(i64, u8)]| -> Vec<Applied> {
            versions.iter().map(|(version, checksum)| (*version, vec![*checksum])).collect()
        };
        let known = of(&[(1, 1), (2, 2), (4, 4)]);
        let told =
            |applied: &[(i64, u8)]| is_complete(&known, &of(applied)).map_err(|error| error.to_string());
        assert_eq!(told(&[]), Ok(false));
        assert_eq!(told(&[(1, 1), (4, 4)]), Ok(false));
        assert_eq!(told(&[(1, 1), (2, 2), (4, 4)]), Ok(true));
        for (applied, part) in [
            (&[(1, 1), (2, 2), (3, 3)][..], "the migration 3, which it does not know"),
            (&[(1, 1), (2, 2), (4, 4), (5, 5)], "the migration 5, which it does not know"),
            (&[(1, 1), (2, 2), (4, 5)], "the migration 4 was another one"),
        ] {
            let why = told(applied).expect_err("other tables");
            assert!(why.contains(part), "{why}");
        }
    }
}
