//! The servers that jobs are taken from and that their letters and events go to.

use bus::{EmittedEvents, Health, Namespace, Publisher};
use db::{Doing, Pool};
use std::time::Duration;
use uuid::Uuid;

/// Deleting an outbox row that takes longer hangs.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// What jobs are carried out with.
#[derive(Clone)]
pub struct JobServers {
    pub namespace: Namespace,
    pub pool: Pool,
    pub publisher: Publisher,
    /// Where a call is known by that no limit ends.
    pub health: Health,
}

impl JobServers {
    /// Publishes committed events. What fails here stays in the outbox, and its sweeper publishes it.
    pub(super) async fn publish_emitted(&self, emitted: EmittedEvents) {
        let EmittedEvents { row, messages } = emitted;
        if let Err(error) = self.publisher.publish_all(messages).await {
            tracing::warn!(%error, outbox = %row, "these events could not be published: the outbox sweeper does it later");
            return;
        }
        let settled = db::within(TIME_LIMIT, "deleting an outbox row", settle_outbox(&self.pool, row));
        if let Err(error) = settled.await {
            tracing::warn!(%error, outbox = %row, "these events could not be published: the outbox sweeper does it later");
        }
    }
}

async fn settle_outbox(pool: &Pool, row: Uuid) -> Result<(), db::Error> {
    let mut connection = pool.acquire().await.doing("taking a connection")?;
    db::outbox::settled(&mut connection, row).await
}
