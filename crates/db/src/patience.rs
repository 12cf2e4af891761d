//! How long is waited for the database.

use crate::error::{Doing, Error};
use crate::pool::Pool;
use crate::suspects;
use std::time::Duration;

/// Waits for the database no longer than `limit`. The driver has no limit of its own and sqlx knows no TCP keepalive: it would
/// wait for ever for an answer that is lost on the way (a firewall that forgot the connection, a failover). After the limit
/// the question is dropped, and the pool closes its connection unless that answers soon.
///
/// # Errors
/// [`Error::Silent`] after the limit, else whatever `asked` fails with.
pub async fn within<T>(
    limit: Duration,
    doing: &'static str,
    asked: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(limit, asked).await.unwrap_or(Err(Error::Silent { doing, limit }))
}

/// Whether the database makes a change durable within `patience`: one whose disk does not answer still reads.
pub async fn answers(pool: &Pool, patience: Duration) -> bool {
    matches!(tokio::time::timeout(patience, change(pool)).await, Ok(Ok(())))
}

/// A row under a key of its own, inserted and deleted.
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
