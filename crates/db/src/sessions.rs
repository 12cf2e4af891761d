//! Whether a session of Postgres is one's own: a pooler may mix them up.

use crate::error::{Doing, Error};
use crate::hosts::{HOST_PATIENCE, Hosts};
use sqlx::{Connection, PgConnection};

/// A pooler that gives statements of one session to several backends mixes up prepared statements, settings and locks. Two
/// sessions that are open at once never have the same backend, and a session never changes it.
///
/// # Errors
/// [`Error::Pooled`] where a pooler mixes up sessions; else why that cannot be asked.
pub async fn expect_sessions(hosts: &Hosts) -> Result<(), Error> {
    let mut first = hosts.connect().await?;
    let before = backend(&mut first).await?;
    let mut second = hosts.connect().await?;
    run(&mut second, "begin").await?;
    let meanwhile = backend(&mut second).await?;
    // The second holds a backend now; a pooler may have none left for the first, and lets it wait.
    let after = tokio::time::timeout(HOST_PATIENCE, backend(&mut first)).await;
    run(&mut second, "rollback").await?;
    let after = after.unwrap_or(Ok(before))?;
    let is_pooled = meanwhile == before || after != before;
    drop(tokio::join!(first.close(), second.close()));
    if is_pooled { Err(Error::Pooled) } else { Ok(()) }
}

async fn backend(connection: &mut PgConnection) -> Result<i32, Error> {
    let asked = sqlx::Executor::fetch_one(connection, sqlx::raw_sql("select pg_backend_pid()")).await;
    let row = asked.doing("asking which backend serves a session")?;
    sqlx::Row::try_get(&row, 0).doing("asking which backend serves a session")
}

async fn run(connection: &mut PgConnection, statement: &'static str) -> Result<(), Error> {
    sqlx::raw_sql(statement).execute(connection).await.doing("looking whether a session is one's own")?;
    Ok(())
}
