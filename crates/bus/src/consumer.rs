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
//! A message with properties that the client cannot read becomes a dead letter, like one that its worker cannot read: see
//! [`wire`](crate::wire). Should a message end the connection nevertheless, only the worker of its queue suffers: a lane that
//! loses its consumer over and over goes on by a connection of its worker alone.
//!
//! A batch's way: `intake` takes messages from the `source` and reads them (`reading`), `decide` has them decided in
//! transactions (`attempt`), `settlement` sorts what became of each item, `handover` publishes what failed, and `lane`
//! acknowledges. Each of these knows only what stands further down.

mod attempt;
mod batch;
mod context;
mod decide;
mod emitted;
mod failure;
mod handover;
mod health;
mod intake;
mod lane;
mod losses;
mod prefetch;
mod reading;
mod replay_outcomes;
mod settlement;
mod shards;
mod source;
mod stage;
mod stop;
mod suspect;
mod unsettled;
mod worker;

pub use context::{Context, TIME_LIMIT};
pub use health::Health;
pub use intake::BATCH_FACTS;
pub use replay_outcomes::{REPLAYED, ReplayOutcome};
pub use worker::{Decoded, EmittedEvents, Settled, Verdict, Worker};

use lane::Lane;
use shards::Shards;
use std::sync::Arc;

/// Runs `lanes` lanes of a worker until the context's token is cancelled and their batches in hand are settled.
pub async fn run<W: Worker>(worker: Arc<W>, lanes: usize, context: Context) {
    // Prometheus sees an increase only of a counter that was there before it: so the first panic is one, too.
    metrics::counter!("bursar_panics_total", "worker" => W::NAME).increment(0);
    let shards = Shards::new(lanes);
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
