//! Events on their way out of the outbox.
//!
//! Whoever commits events publishes them right away. What a crash left in between, or a broker that was away, the
//! sweeper publishes: so every event goes out at least once, possibly again, never not at all.

use crate::backoff::Delays;
use crate::message::Message;
use crate::publisher::{PublishError, Publisher};
use crate::topology::{Namespace, exchange};
use db::Doing;
use db::outbox::StoredEvent;
use std::time::Duration;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

/// Rows younger than this are still in the hands of whoever committed them.
const GRACE: Duration = Duration::from_secs(5);

/// How often the sweeper looks while there is nothing to sweep.
const IDLE: Duration = Duration::from_secs(2);

/// CloudEvents 1.0, structured JSON mode.
const CONTENT_TYPE: &str = "application/cloudevents+json";

/// An event as it goes out, one per message; it is a CloudEvent in structured JSON mode.
pub fn message(namespace: &Namespace, event: &StoredEvent) -> Message {
    let (to, id, traceparent) =
        (namespace.name(exchange::EVENTS), event.id.to_string(), event.traceparent.as_deref());
    Message::new(to, &event.kind, id, CONTENT_TYPE, traceparent, event.to_json())
}

#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    Database(#[from] db::Error),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// Publishes what others left behind, until the token is cancelled. Any number of them may run.
pub async fn sweep(namespace: Namespace, pool: db::Pool, publisher: Publisher, stop: CancellationToken) {
    let mut delays = Delays::for_servers();
    loop {
        let pause = match sweep_one(&namespace, &pool, &publisher).await {
            Ok(true) => {
                delays.reset();
                continue;
            }
            Ok(false) => IDLE,
            Err(error) => {
                tracing::warn!(%error, "the outbox sweeper pauses");
                delays.next_delay()
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Publishes the events of one row; tells whether there was one.
async fn sweep_one(
    namespace: &Namespace,
    pool: &db::Pool,
    publisher: &Publisher,
) -> Result<bool, SweepError> {
    let mut transaction = pool.begin().await.doing("beginning a sweep")?;
    let Some((row, events)) = db::outbox::claim(&mut transaction, OffsetDateTime::now_utc() - GRACE).await?
    else {
        return Ok(false);
    };
    let count = events.len();
    let messages = events.iter().map(|event| message(namespace, event)).collect();
    publisher.publish_all(messages).await?;
    db::outbox::settled(&mut transaction, row).await?;
    transaction.commit().await.doing("committing a sweep")?;
    tracing::info!(outbox = %row, events = count, "published what was left in the outbox");
    Ok(true)
}
