//! The loop that runs a worker: take a batch, decide it in one transaction, commit, publish, acknowledge.
//!
//! A *lane* is one consumer on one channel. It takes what is there, up to a limit, and settles it before it takes more;
//! several lanes run side by side, so that one waits for the broker while another works in the database. Where items of
//! one [`Worker::key`] would wait for each other's locks, the lanes split their batches by it into as many *shards* as
//! there are lanes, and settle one part of a shard at a time.
//!
//! After every batch: each fact in it is committed, or dead-lettered and confirmed, and only then is the delivery that
//! brought it acknowledged, all of the batch with one `multiple` acknowledgement. A crash at any point repeats, never
//! loses. Errors are treated by their [`Fate`](crate::Fate); a panic counts as unknown, and a time limit exceeded where the
//! database takes changes meanwhile.
//!
//! | a batch fails, its error is | |
//! | --- | --- |
//! | transient; so is an answer of the database that never comes | the same batch again after a pause, for as long as it takes; no attempt is counted |
//! | poison | split until the culprit stands alone; it is dead-lettered at once |
//! | unknown | split until the culprit stands alone; it rests on the retry ladder, climbs it with nobody beside it, and is dead-lettered at its end |
//! | the end of the process | see [`suspect`]: what came back too often is settled alone, and each try is counted before it |
//!
//! A message of which the client cannot read everything is a dead letter, like one that its worker cannot: see
//! [`wire`](crate::wire). Should one kill the connection nevertheless, it does so to its own queue alone: a lane that loses its
//! consumer over and over goes on by a connection of its worker's.

mod health;
mod lane;
mod prefetch;
mod stage;
mod suspect;
mod undelivered;

use crate::connection::Broker;
use crate::fate::Fated;
use crate::message::{Incoming, Message};
use crate::publisher::Publisher;
use crate::topology::{Ladder, Namespace};
use db::Work;
use domain::Outcome;
use lane::{Lane, Shard};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use health::Health;
pub use undelivered::{REPLAYED, ReplayOutcome};

/// A batch is taken up once it holds this many facts for each of its transactions. Larger batches gain little and double the
/// latency.
pub const BATCH_FACTS: usize = 500;

/// A batch that takes longer hangs.
pub const TIME_LIMIT: Duration = Duration::from_secs(30);

/// What a worker is: a queue, a message type, an error type that states each error's fate, and one function over a
/// batch inside a transaction. It never acknowledges, sleeps, publishes or reads the clock itself.
pub trait Worker: Send + Sync + 'static {
    /// Its name in metrics, logs and dead letters.
    const NAME: &'static str;
    /// Messages delivered and not acknowledged, per lane, at most: fewer where they are large, see `prefetch`.
    const PREFETCH: u16;
    /// Whether a message may become a dead letter at all. The worker that keeps dead letters has nobody to leave its own to:
    /// what it cannot settle goes around the ladder's last rung until it can.
    const GIVES_UP: bool = true;

    type Item: Send + Sync;
    type Error: Fated;

    /// The queue it reads, without the namespace.
    fn queue(&self) -> &'static str;

    /// What a message holds: one fact or many, each readable or not by itself. `now` is when it came; of one that comes
    /// again after a failure, when it first did.
    fn decode(&self, message: &Incoming, now: OffsetDateTime) -> Vec<Decoded<Self::Item>>;

    /// One item as a message of its own: content type and body, for a dead letter out of a message that held several.
    fn encode(&self, item: &Self::Item) -> (&'static str, Vec<u8>);

    /// When Bursar first held the item, for latencies.
    fn received_at(&self, item: &Self::Item) -> Option<OffsetDateTime>;

    /// What the item works on: items of one key are settled one transaction after another, those of different keys side by
    /// side. A matter of speed alone, for the database's locks hold in any case. Nothing: it stands in nobody's way.
    fn key(&self, _item: &Self::Item) -> Option<u64> {
        None
    }

    /// Decides a batch. One verdict for each item, in their order. Nothing it did holds unless all of it succeeded.
    fn handle(
        &self,
        work: &mut Work,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Settled, Self::Error>> + Send;
}

pub enum Decoded<I> {
    Item(I),
    /// Not readable: dead-lettered as it is. A part of a message has a content type of its own.
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
    /// Given up on.
    Dead { code: &'static str, reason: String },
}

/// What a worker made of a batch.
#[derive(Debug, Default)]
pub struct Settled {
    pub verdicts: Vec<Verdict>,
    /// Published and confirmed *before* the transaction commits: a crash in between repeats them.
    pub forward: Vec<Message>,
    /// Published *after* the transaction has committed them to the outbox.
    pub announce: Option<Announcement>,
}

/// Events that the transaction stored, and the outbox row that stands for them until they are published.
#[derive(Debug)]
pub struct Announcement {
    pub row: Uuid,
    pub messages: Vec<Message>,
}

/// What a lane works with.
#[derive(Clone)]
pub struct Context {
    pub namespace: Namespace,
    pub consume: Broker,
    pub publisher: Publisher,
    pub pool: db::Pool,
    pub health: Health,
    pub ladder: Ladder,
    /// See [`TIME_LIMIT`]; a test is less patient.
    pub time_limit: Duration,
    pub stop: CancellationToken,
}

/// Runs `lanes` lanes of a worker until the context's token is cancelled and their batches in hand are settled.
pub async fn run<W: Worker>(worker: Arc<W>, lanes: usize, context: Context) {
    // An increase is told of a counter only once it has been there before: the first panic is one, too.
    metrics::counter!("bursar_panics_total", "worker" => W::NAME).increment(0);
    let shards: Arc<[Shard]> = (0..lanes).map(|_| Shard::default()).collect();
    let apart = context.consume.apart(worker.queue());
    let lanes = (0..lanes).map(|number| {
        let context = Context { publisher: context.publisher.sibling(), ..context.clone() };
        tokio::spawn(Lane::new(worker.clone(), context, number, shards.clone(), apart.clone()).supervise())
    });
    for lane in lanes.collect::<Vec<_>>() {
        if let Err(error) = lane.await {
            tracing::error!(worker = W::NAME, %error, "a lane ended by a panic outside its worker");
        }
    }
    apart.close().await;
}
