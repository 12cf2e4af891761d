//! Publishing the events that a batch committed.

use super::context::LaneContext;
use super::failure::with_causes;
use super::worker::{EmittedEvents, Worker};
use db::Doing;
use uuid::Uuid;

/// Publishes committed events, then deletes their outbox row. Where either fails the row stays, and the outbox sweeper
/// publishes them.
pub(super) async fn publish_emitted<W: Worker>(lane: &LaneContext<W>, emitted: EmittedEvents) {
    let published = lane.context.publisher.publish_all(emitted.messages).await;
    let settled = match published {
        Ok(()) => {
            let settled = settle_outbox(&lane.context.pool, emitted.row);
            let settled = db::within(lane.context.time_limit, "deleting an outbox row", settled).await;
            settled.map_err(|error| with_causes(&error))
        }
        Err(error) => Err(error.to_string()),
    };
    if let Err(why) = settled {
        tracing::warn!(worker = W::NAME, why, outbox = %emitted.row, "left to the outbox sweeper");
    }
}

async fn settle_outbox(pool: &db::Pool, row: Uuid) -> Result<(), db::Error> {
    let mut connection = pool.acquire().await.doing("taking a connection")?;
    db::outbox::settled(&mut connection, row).await
}
