//! How often each message was tried that may be what ends the process.

use crate::error::{Doing, Error};
use sqlx::PgConnection;

/// Counts a try before it is made; durable when this returns. Returns how many there were, with this one.
///
/// # Errors
/// Where the statement fails: it may have counted nevertheless.
pub async fn tried(connection: &mut PgConnection, key: &[u8; 32], worker: &str) -> Result<i32, Error> {
    sqlx::query_scalar!(
        "insert into suspects (key, worker, tries, since) values ($1, $2, 1, now())
         on conflict (key) do update set tries = suspects.tries + 1
         returning tries",
        key.as_slice(),
        worker,
    )
    .fetch_one(connection)
    .await
    .doing("counting a try")
}

/// Takes a counted try back: it was not made.
///
/// # Errors
/// Where the statement fails; then the count stays too high.
pub async fn taken_back(connection: &mut PgConnection, key: &[u8; 32]) -> Result<(), Error> {
    sqlx::query!(
        "with last as (delete from suspects where key = $1 and tries = 1)
         update suspects set tries = tries - 1 where key = $1 and tries > 1",
        key.as_slice(),
    )
    .execute(connection)
    .await
    .doing("taking back a try")?;
    Ok(())
}

/// Deletes the count: the try has ended, and the process goes on.
///
/// # Errors
/// Where the statement fails; then the count stays.
pub async fn survived(connection: &mut PgConnection, key: &[u8; 32]) -> Result<(), Error> {
    sqlx::query!("delete from suspects where key = $1", key.as_slice())
        .execute(connection)
        .await
        .doing("forgetting a try")?;
    Ok(())
}
