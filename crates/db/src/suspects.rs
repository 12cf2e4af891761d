//! Messages that the fleet settles with care, because the process may end by them: how often each was tried.

use crate::error::{Doing, Error};
use sqlx::PgConnection;

/// Counts a try before it is made; durable when this returns. Returns how many there were, this one included.
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

/// The try was none: one less.
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

/// The try has ended, and the process has not.
pub async fn survived(connection: &mut PgConnection, key: &[u8; 32]) -> Result<(), Error> {
    sqlx::query!("delete from suspects where key = $1", key.as_slice())
        .execute(connection)
        .await
        .doing("forgetting a try")?;
    Ok(())
}
