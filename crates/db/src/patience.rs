//! How long is waited for the database.

use crate::error::{Doing, Error};
use crate::pool::Pool;
use crate::suspects;
use std::time::Duration;

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
