//! A pool of connections: how each is made, looked at before its next use, and given back.

use crate::renewal;
use crate::writable::{CANNOT_BE_WRITTEN, takes_changes};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::io;
use std::sync::Arc;
use std::time::Duration;

pub type Pool = sqlx::PgPool;

/// How long a statement waits for a connection of the pool. Below the 4 s in which a webhook must have its answer.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that idled answers within this, or another is made.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that is given back answers within this, or it is closed: its statement may have been left without an
/// answer, and the driver would wait for that as long as the socket lives.
const RETURN_TIMEOUT: Duration = Duration::from_secs(5);

/// A parameter of a session, and its value.
pub(crate) type Setting = (&'static str, &'static str);

/// A worker that hangs in a transaction would hold back vacuum for everybody. A statement that waits for a lock must end, and
/// be tried again, before the loop takes its batch for one that hangs (30 s) and gives up on its facts. The wait for a lock
/// ends first, and by a code of its own: it is somebody else's fault.
pub(crate) const LIMITS: [Setting; 3] =
    [("idle_in_transaction_session_timeout", "60s"), ("lock_timeout", "10s"), ("statement_timeout", "15s")];

pub(crate) const BY_KEY: [Setting; 4] =
    [("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off"), ("jit", "off")];

/// How the pool treats its connections. Settings are set on each connection once it is there: at its start a pooler may refuse
/// or forget them. Of `several` hosts only one that can be written is let in.
pub(crate) fn options(settings: &[Setting], connections_max: u32, several: bool) -> PgPoolOptions {
    let settings: String = settings.iter().map(|(name, value)| format!("set {name} = '{value}';")).collect();
    let settings = Arc::<str>::from(settings);
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // Below, with a limit of its own.
        .test_before_acquire(false)
        .before_acquire(|connection, met| Box::pin(is_usable(connection, met.age)))
        .after_connect(move |connection, _| Box::pin(prepare(connection, settings.clone(), several)))
        .after_release(|connection, met| Box::pin(is_reusable(connection, met.age)))
}

async fn is_usable(connection: &mut PgConnection, age: Duration) -> Result<bool, sqlx::Error> {
    Ok(renewal::is_current(age) && answers_within(connection, IDLE_TIMEOUT).await.is_ok())
}

async fn is_reusable(connection: &mut PgConnection, age: Duration) -> Result<bool, sqlx::Error> {
    match renewal::is_current(age) {
        true => answers_within(connection, RETURN_TIMEOUT).await.map(|()| true),
        false => Ok(false),
    }
}

async fn prepare(
    connection: &mut PgConnection,
    settings: Arc<str>,
    several: bool,
) -> Result<(), sqlx::Error> {
    expect_changes(connection, several).await?;
    // Names and values are those of this file.
    sqlx::raw_sql(AssertSqlSafe(settings)).execute(connection).await?;
    Ok(())
}

async fn answers_within(connection: &mut PgConnection, limit: Duration) -> Result<(), sqlx::Error> {
    let answered = tokio::time::timeout(limit, connection.ping()).await;
    answered.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}

/// Of several hosts only one that can be written is let in; a single one may be a standby, which commands read from.
async fn expect_changes(connection: &mut PgConnection, several: bool) -> Result<(), sqlx::Error> {
    match !several || takes_changes(connection).await? {
        true => Ok(()),
        false => Err(sqlx::Error::Configuration(CANNOT_BE_WRITTEN.into())),
    }
}
