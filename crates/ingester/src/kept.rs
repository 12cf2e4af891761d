//! Publishes what the front door kept in Postgres while RabbitMQ was away.

use crate::intake::Intake;
use bus::{Message, PublishError, Publisher};
use db::Doing;
use jobs::{Found, Pass};
use std::time::Duration;

/// How often to look while there is nothing.
const IDLE: Duration = Duration::from_secs(1);

/// Messages in one go; a webhook's body may have a megabyte.
const AT_ONCE: i64 = 50;

/// Publishing so many hangs where it takes longer.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Publishes what is there, a portion at a time. Any number of processes may.
pub fn sweep(intake: &Intake) -> Pass {
    // On a channel of its own: what it meets must not close the channel under live webhooks.
    let (intake, publisher) = (intake.clone(), intake.publisher.sibling());
    Pass::new("spool", IDLE, TIME_LIMIT, move || {
        let (intake, publisher) = (intake.clone(), publisher.clone());
        async move {
            let messages = publish_some(&intake, &publisher).await?;
            if messages > 0 {
                tracing::info!(messages, "published what was kept in Postgres");
            }
            Ok::<_, Error>(Found::more_if(messages > 0))
        }
    })
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Database(#[from] db::Error),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("RabbitMQ will not take {0} kept messages: see `bursar topology --check`")]
    Refused(usize),
}

async fn publish_some(intake: &Intake, publisher: &Publisher) -> Result<usize, Error> {
    let mut transaction = intake.pool.begin().await.doing("beginning a sweep")?;
    let kept = db::spool::claim(&mut transaction, AT_ONCE).await?;
    if kept.is_empty() {
        return Ok(0);
    }
    let ids: Vec<_> = kept.iter().map(|message| message.id).collect();
    let messages = kept.into_iter().map(|kept| Message {
        exchange: kept.exchange,
        routing_key: kept.routing_key,
        message_id: kept.message_id,
        content_type: kept.content_type,
        headers: kept.headers,
        body: kept.body,
    });
    let outcomes = publisher.publish(messages.collect()).await;
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
    transaction.commit().await.doing("committing a sweep")?;
    match (away, refused.len(), published.len()) {
        (Some(error), _, _) => Err(error.into()),
        (None, 1.., 0) => Err(Error::Refused(refused.len())),
        (None, _, published) => Ok(published),
    }
}
