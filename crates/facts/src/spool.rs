//! The spool: messages that lie in Postgres because RabbitMQ did not take them, published once it does.

use bus::{Delays, Message, PublishError, Publisher};
use db::kept::KeptMessage;
use db::{Doing, Pool};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often to look while there is nothing.
const IDLE: Duration = Duration::from_secs(1);

/// Messages in one go; a webhook's body may have a megabyte.
const AT_ONCE: i64 = 50;

/// Publishing so many hangs where it takes longer.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Why messages stay in the spool.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Database(#[from] db::Error),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("RabbitMQ will not take {0} messages of the spool: see `bursar topology --check`")]
    Refused(usize),
}

/// Publishes what is in the spool until the token is cancelled. Any number of processes may: each takes messages that no
/// other has in hand. The publisher should be one of its own: what a message meets must not close the channel under live
/// webhooks.
pub async fn sweep(pool: Pool, publisher: Publisher, stop: CancellationToken) {
    let mut delays = Delays::for_servers();
    loop {
        let swept = tokio::time::timeout(TIME_LIMIT, publish_some(&pool, &publisher)).await;
        let silent = db::Error::Silent { doing: "publishing messages of the spool", limit: TIME_LIMIT };
        let pause = match swept.unwrap_or_else(|_| Err(silent.into())) {
            Ok(0) => IDLE,
            Ok(count) => {
                tracing::info!(messages = count, "published messages of the spool");
                delays.reset();
                continue;
            }
            Err(error) => {
                tracing::warn!(%error, "messages of the spool wait");
                delays.next_delay()
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Publishes some of the oldest messages of the spool and tells how many; none where it is empty. A crash in between
/// publishes them again, which the gate makes harmless.
pub async fn publish_some(pool: &Pool, publisher: &Publisher) -> Result<usize, Error> {
    let mut transaction = pool.begin().await.doing("beginning to publish the spool")?;
    let claimed = db::kept::claim(&mut transaction, AT_ONCE).await?;
    if claimed.is_empty() {
        return Ok(0);
    }
    let ids: Vec<Uuid> = claimed.iter().map(|message| message.id).collect();
    let outcomes = publisher.publish(claimed.into_iter().map(message).collect()).await;
    let (mut published, mut refused, mut away) = (Vec::new(), Vec::new(), None);
    for (id, outcome) in ids.into_iter().zip(outcomes) {
        match outcome {
            Ok(()) => published.push(id),
            Err(error @ (PublishError::Unavailable(_) | PublishError::Objected(_))) => away = Some(error),
            Err(PublishError::Unroutable { .. } | PublishError::Refused) => refused.push(id),
        }
    }
    db::kept::published(&mut transaction, &published).await?;
    db::kept::refused(&mut transaction, &refused).await?;
    transaction.commit().await.doing("committing what was published of the spool")?;
    match (away, refused.len(), published.len()) {
        (Some(error), _, _) => Err(error.into()),
        (None, 1.., 0) => Err(Error::Refused(refused.len())),
        (None, _, published) => Ok(published),
    }
}

fn message(spooled: KeptMessage) -> Message {
    let KeptMessage { id: _, exchange, routing_key, message_id, content_type, headers, body } = spooled;
    Message { exchange, routing_key, message_id, content_type, headers, body }
}
