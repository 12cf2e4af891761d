//! The spool: messages that lie in Postgres because RabbitMQ did not take them, published once it does.

use bus::{Message, PublishError, Publisher};
use db::spool::SpooledMessage;
use db::{Doing, Pool};
use uuid::Uuid;

/// Messages in one go; a webhook's body may have a megabyte.
const AT_ONCE: i64 = 50;

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

/// Publishes some of the oldest messages of the spool and returns how many: 0 if it is empty. A crash in between
/// publishes them again, which the gate makes harmless.
///
/// # Errors
/// Those of the database, or of RabbitMQ: what it has not confirmed stays in the spool.
pub async fn publish_some(pool: &Pool, publisher: &Publisher) -> Result<usize, Error> {
    let mut transaction = pool.begin().await.doing("beginning to publish the spool")?;
    let claimed = db::spool::claim(&mut transaction, AT_ONCE).await?;
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
    db::spool::published(&mut transaction, &published).await?;
    db::spool::refused(&mut transaction, &refused).await?;
    transaction.commit().await.doing("committing what was published of the spool")?;
    match (away, refused.len(), published.len()) {
        (Some(error), _, _) => Err(error.into()),
        (None, 1.., 0) => Err(Error::Refused(refused.len())),
        (None, _, published) => Ok(published),
    }
}

fn message(spooled: SpooledMessage) -> Message {
    let SpooledMessage { id: _, exchange, routing_key, message_id, content_type, headers, body } = spooled;
    Message { exchange, routing_key, message_id, content_type, headers, body }
}
