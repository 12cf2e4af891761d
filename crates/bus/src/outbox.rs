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
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

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

/// What cannot be published is tried again after this.
const AGAIN: Duration = Duration::from_secs(10);

/// So many that cannot be published are passed over for those behind them.
const PASSED_OVER_MAX: usize = 100;

/// A sweep that takes longer hangs. Its row is one batch's.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// What one look found.
enum Swept {
    Published,
    Nothing,
    /// It is this row's own: those behind it may go.
    Unpublishable(Uuid, SweepError),
}

#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    Database(#[from] db::Error),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl SweepError {
    /// Whether every other row would meet it just now.
    fn is_everyones(&self) -> bool {
        match self {
            SweepError::Database(error) => error.is_transient(),
            SweepError::Publish(PublishError::Unavailable(_)) => true,
            SweepError::Publish(
                PublishError::Objected(_) | PublishError::Unroutable { .. } | PublishError::Refused,
            ) => false,
        }
    }
}

/// Publishes what others left behind, until the token is cancelled. Any number of them may run.
pub async fn sweep(namespace: Namespace, pool: db::Pool, publisher: Publisher, stop: CancellationToken) {
    let mut delays = Delays::for_servers();
    let mut passed_over = Vec::new();
    let mut again_at = Instant::now();
    loop {
        if Instant::now() >= again_at {
            passed_over.clear();
        }
        let swept = sweep_one(&namespace, &pool, &publisher, &passed_over);
        let limited = tokio::time::timeout(TIME_LIMIT, swept).await;
        let silent = db::Error::Silent { doing: "sweeping the outbox", limit: TIME_LIMIT };
        let pause = match limited.unwrap_or_else(|_| Err(silent.into())) {
            Ok(Swept::Published) => {
                delays.reset();
                continue;
            }
            Ok(Swept::Nothing) => IDLE,
            Ok(Swept::Unpublishable(row, error)) => {
                tracing::error!(outbox = %row, %error, "events cannot be published and stay in the outbox; others go on");
                if passed_over.is_empty() {
                    again_at = Instant::now() + AGAIN;
                }
                passed_over.push(row);
                match passed_over.len() < PASSED_OVER_MAX {
                    true => Duration::ZERO,
                    false => again_at - Instant::now(),
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the outbox sweeper pauses");
                delays.next_delay()
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Publishes the events of one row that is not to be passed over.
async fn sweep_one(
    namespace: &Namespace,
    pool: &db::Pool,
    publisher: &Publisher,
    passed_over: &[Uuid],
) -> Result<Swept, SweepError> {
    let mut transaction = pool.begin().await.doing("beginning a sweep")?;
    let before = OffsetDateTime::now_utc() - GRACE;
    let Some(row) = db::outbox::claim(&mut transaction, before, passed_over).await? else {
        return Ok(Swept::Nothing);
    };
    match publish(namespace, &mut transaction, publisher, &row).await {
        Ok(()) => {}
        Err(error) if error.is_everyones() => return Err(error),
        Err(error) => return Ok(Swept::Unpublishable(row.id, error)),
    }
    db::outbox::settled(&mut transaction, row.id).await?;
    transaction.commit().await.doing("committing a sweep")?;
    tracing::info!(outbox = %row.id, events = row.events.len(), "published what was left in the outbox");
    Ok(Swept::Published)
}

async fn publish(
    namespace: &Namespace,
    connection: &mut db::PgConnection,
    publisher: &Publisher,
    row: &db::outbox::OutboxRow,
) -> Result<(), SweepError> {
    let events = db::outbox::events(connection, row).await?;
    let messages = events.iter().map(|event| message(namespace, event)).collect();
    Ok(publisher.publish_all(messages).await?)
}
