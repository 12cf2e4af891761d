//! What a worker is, and what it tells the loop.

use crate::fate::Fated;
use crate::incoming::Incoming;
use crate::message::Message;
use db::Work;
use domain::Outcome;
use std::future::Future;
use time::OffsetDateTime;
use uuid::Uuid;

/// What a worker is: a queue, a message type, an error type that states each error's fate, and one function over a
/// batch inside a transaction. It never acknowledges, sleeps, publishes or reads the clock itself.
pub trait Worker: Send + Sync + 'static {
    /// Its name in metrics, logs and dead letters.
    const NAME: &'static str;
    /// How many messages a lane may hold that it has not acknowledged: fewer where they are large, see `prefetch`.
    const PREFETCH: u16;
    /// The codes of dead letters that it gives, beside the loop's own ([`code::ALL`](crate::code::ALL)). One that is on no list
    /// counts as `other` in metrics: see [`check_code`](crate::check_code).
    const CODES: &'static [&'static str];
    /// Whether a message may become a dead letter at all. The worker that keeps dead letters has nobody to leave its own to:
    /// what it cannot settle goes around the ladder's last rung until it can.
    const GIVES_UP: bool = true;

    type Item: Send + Sync;
    type Error: Fated;

    /// The queue it reads, without the namespace.
    fn queue(&self) -> &'static str;

    /// What a message holds: one fact or many, each readable or not by itself. `now` is when the message came; for a message
    /// that comes again after a failure it is when it failed first.
    fn decode(&self, message: &Incoming, now: OffsetDateTime) -> Vec<Decoded<Self::Item>>;

    /// One item as a message of its own, content type and body: for a dead letter out of a message that held several.
    fn encode(&self, item: &Self::Item) -> (&'static str, Vec<u8>);

    /// When Bursar first held the item, for latencies.
    fn received_at(&self, item: &Self::Item) -> Option<OffsetDateTime>;

    /// What the item works on: items of one key are settled one transaction after another, those of different keys side by
    /// side. The key matters for speed alone; the database's locks hold in any case. An item without a key waits for no other.
    fn key(&self, _item: &Self::Item) -> Option<u64> {
        None
    }

    /// Decides a batch: one verdict for each item, in their order. Nothing of it is committed unless all of it succeeded.
    ///
    /// # Errors
    /// Whatever kept it from deciding. The error's [`Fate`](crate::Fate) says what the loop does with the batch.
    fn handle(
        &self,
        work: &mut Work,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Settled, Self::Error>> + Send;
}

/// One of the items that a message holds.
pub enum Decoded<I> {
    Item(I),
    /// The worker cannot read it: it becomes a dead letter as it is. A part of a message has a content type of its own.
    Bad {
        body: Vec<u8>,
        content_type: Option<&'static str>,
        code: &'static str,
        reason: String,
    },
}

/// What became of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Settled, and counted under its outcome.
    Done(Outcome),
    /// The worker gave up on it.
    Dead { code: &'static str, reason: String },
}

/// What a worker made of a batch.
#[derive(Debug, Default)]
pub struct Settled {
    pub verdicts: Vec<Verdict>,
    /// Published and confirmed *before* the transaction commits: a crash in between repeats them.
    pub forward: Vec<Message>,
    /// Published *after* the transaction has committed them to the outbox.
    pub emitted: Option<EmittedEvents>,
}

/// Events that the transaction stored, and the outbox row that stands for them until they are published.
#[derive(Debug)]
pub struct EmittedEvents {
    pub row: Uuid,
    pub messages: Vec<Message>,
}
