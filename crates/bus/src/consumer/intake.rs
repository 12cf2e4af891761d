//! Taking a batch: a first message, then what is there, up to a limit.

use super::batch::Batch;
use super::context::LaneContext;
use super::reading::{ReadMessage, read};
use super::source::{Ended, Source, TakenMessage};
use super::stop::Stop;
use super::worker::Worker;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// A batch is taken up once it holds this many facts for each of its transactions. Larger batches gain little and double the
/// latency.
pub const BATCH_FACTS: usize = 500;

/// A batch of large messages is taken up once it holds this many bytes.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// How long a batch that is not full waits for more. Every batch costs a commit and a round of confirms, so many small ones
/// cost more CPU, and under load more latency, than this wait.
const LINGER: Duration = Duration::from_millis(5);

/// Waits for a first message, then takes what is there. What came back too often is a batch by itself.
pub(super) async fn take<W: Worker>(
    lane: &LaneContext<W>,
    source: &mut Source,
    prefetch: u16,
) -> Result<Batch<W::Item>, Ended> {
    let Some(first) = source.first(&lane.context.stop).await? else { return Err(Ended::Resized) };
    let mut batch = Batch::begin(lane.context.health.batch(&lane.name));
    let is_alone = first.stands_alone();
    add(lane, &mut batch, first).await?;
    if !is_alone {
        fill(lane, source, &mut batch, prefetch).await?;
    }
    Ok(batch)
}

async fn fill<W: Worker>(
    lane: &LaneContext<W>,
    source: &mut Source,
    batch: &mut Batch<W::Item>,
    prefetch: u16,
) -> Result<(), Ended> {
    let deadline = Instant::now() + LINGER;
    let room = BatchRoom::of(lane, batch, prefetch);
    while room.is_left(batch) {
        let Ok(next) = timeout_at(deadline, source.next()).await else { break };
        let Some(next) = next? else { break };
        if next.stands_alone() {
            source.leave(next);
            break;
        }
        add(lane, batch, next).await?;
    }
    Ok(())
}

async fn add<W: Worker>(
    lane: &LaneContext<W>,
    batch: &mut Batch<W::Item>,
    TakenMessage { tag, message }: TakenMessage,
) -> Result<(), Stop> {
    let decoded = match read(lane, &message).await? {
        ReadMessage::Plain(decoded) => decoded,
        ReadMessage::Tried(decoded, tried) => {
            batch.tried = Some(tried);
            decoded
        }
        ReadMessage::TakenApart(unsettled) => {
            batch.unsettled = unsettled;
            Vec::new()
        }
    };
    batch.add(tag, message, decoded);
    Ok(())
}

/// How much a batch may hold.
struct BatchRoom {
    facts_max: usize,
    messages_max: usize,
}

impl BatchRoom {
    /// Items with a key fill a transaction for each shard. More messages than the prefetch do not come.
    fn of<W: Worker>(lane: &LaneContext<W>, batch: &Batch<W::Item>, prefetch: u16) -> Self {
        let is_keyed = batch.items.first().is_some_and(|item| lane.worker.key(item).is_some());
        let facts_max = if is_keyed { BATCH_FACTS * lane.shards.count() } else { BATCH_FACTS };
        Self { facts_max, messages_max: facts_max.min(prefetch.into()) }
    }

    fn is_left<I>(&self, batch: &Batch<I>) -> bool {
        batch.items.len() < self.facts_max
            && batch.messages.len() < self.messages_max
            && batch.bytes < BATCH_BYTES
    }
}
