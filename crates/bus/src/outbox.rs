//! Events on their way out of the outbox.
//!
//! Whoever commits events publishes them right away. What a crash left in between, or a broker that was away, the
//! sweeper publishes: so every event goes out at least once, possibly again, never not at all.

use crate::message::Message;
use crate::publisher::{PublishError, Publisher};
use crate::topology::{Namespace, exchange};
use db::Doing;
use db::outbox::StoredEvent;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

/// Rows younger than this are still in the hands of whoever committed them.
const GRACE: Duration = Duration::from_secs(5);

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

/// What one look found.
enum Swept {
    Published,
    Nothing,
    /// It is this row's own: those behind it may go.
    Unpublishable(Uuid, SweepError),
}

/// Why a sweep did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error(transparent)]
    Database(#[from] db::Error),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl SweepError {
    /// Whether every other row would fail by it just now.
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

/// Publishes what others left behind, a row at a time. Any number of them may.
pub struct Sweeper {
    namespace: Namespace,
    pool: db::Pool,
    publisher: Publisher,
    passed_over: PassedOver,
}

impl Sweeper {
    /// The publisher is one of its own: what a row meets must not close the channel under what is published right away.
    pub fn new(namespace: Namespace, pool: db::Pool, publisher: Publisher) -> Self {
        Self { namespace, pool, publisher, passed_over: PassedOver::default() }
    }

    /// Publishes one row; tells whether there may be more to do at once.
    ///
    /// # Errors
    /// Those of the servers that every other row would meet too.
    pub async fn sweep_once(&mut self) -> Result<bool, SweepError> {
        self.passed_over.forget_in_time();
        match self.publish_row().await? {
            Swept::Published => Ok(true),
            Swept::Nothing => Ok(false),
            Swept::Unpublishable(row, error) => {
                tracing::error!(outbox = %row, %error, "events cannot be published and stay in the outbox; others go on");
                Ok(self.passed_over.add(row))
            }
        }
    }

    /// Publishes the events of the oldest row that is not passed over.
    async fn publish_row(&self) -> Result<Swept, SweepError> {
        let mut transaction = self.pool.begin().await.doing("beginning a sweep")?;
        let before = OffsetDateTime::now_utc() - GRACE;
        let Some(row) = db::outbox::claim(&mut transaction, before, &self.passed_over.rows).await? else {
            return Ok(Swept::Nothing);
        };
        match self.publish(&mut transaction, &row).await {
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
        &self,
        connection: &mut db::PgConnection,
        row: &db::outbox::OutboxRow,
    ) -> Result<(), SweepError> {
        let events = db::outbox::events(connection, row).await?;
        let messages = events.iter().map(|event| message(&self.namespace, event)).collect();
        Ok(self.publisher.publish_all(messages).await?)
    }
}

/// Rows that cannot be published: those behind them go first, until it is time to try again.
struct PassedOver {
    rows: Vec<Uuid>,
    again_at: Instant,
}

impl Default for PassedOver {
    fn default() -> Self {
        Self { rows: Vec::new(), again_at: Instant::now() }
    }
}

impl PassedOver {
    fn forget_in_time(&mut self) {
        if Instant::now() >= self.again_at {
            self.rows.clear();
        }
    }

    /// Tells whether there is room for more of them: else those wait that come behind.
    fn add(&mut self, row: Uuid) -> bool {
        if self.rows.is_empty() {
            self.again_at = Instant::now() + AGAIN;
        }
        self.rows.push(row);
        self.rows.len() < PASSED_OVER_MAX
    }
}
