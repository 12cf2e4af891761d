//! One attempt at some items of a batch: one transaction.

use super::context::LaneContext;
use super::emitted::publish_emitted;
use super::failure::BatchFailure;
use super::stage::Stage;
use super::worker::{Settled, Verdict, Worker};
use crate::message::Message;
use db::Work;
use futures_util::FutureExt;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use time::OffsetDateTime;

/// Decides the items, publishes what must be out before the commit, commits, publishes the events that were stored.
pub(super) async fn attempt<W: Worker>(
    lane: &LaneContext<W>,
    shard: Option<usize>,
    items: &[W::Item],
    is_tried: bool,
) -> Result<Vec<Verdict>, BatchFailure> {
    let turn = lane.shards.turn(shard).await;
    let _busy = lane.begin_step();
    let mut transaction = BatchTransaction::begin(lane, is_tried);
    let settled = match transaction.decide(items).await {
        Ok(settled) => settled,
        Err(undecided) => return Err(transaction.end_undecided(undecided).await),
    };
    let transaction = transaction.forward(settled.forward).await?;
    let mut stage = transaction.commit().await?;
    drop(turn);
    stage.ends("commit");
    if let Some(emitted) = settled.emitted {
        publish_emitted(lane, emitted).await;
    }
    // Dashboards know the stage by this name.
    stage.ends("announce");
    Ok(settled.verdicts)
}

struct BatchTransaction<'a, W> {
    lane: &'a LaneContext<W>,
    work: Work,
    stage: Stage,
}

/// Why there are no verdicts.
enum Undecided<E> {
    Failed(E),
    /// The database moved to another host: the answer of the one before may never come.
    Moved(db::Error),
    TooLong,
    Panicked(Box<dyn Any + Send>),
    /// Not one verdict for each item.
    Miscounted,
}

impl<'a, W: Worker> BatchTransaction<'a, W> {
    /// A suspect does not wait for locks: if the process ended while it waited, that would count against the message.
    fn begin(lane: &'a LaneContext<W>, is_tried: bool) -> Self {
        let begin = if is_tried { Work::giving_way } else { Work::new };
        let work = begin(lane.context.pool.clone(), OffsetDateTime::now_utc());
        Self { lane, work, stage: Stage::start::<W>() }
    }

    /// The worker decides, within its time, and a panic is caught.
    async fn decide(&mut self, items: &[W::Item]) -> Result<Settled, Undecided<W::Error>> {
        let context = &self.lane.context;
        let limited =
            tokio::time::timeout(context.time_limit, self.lane.worker.handle(&mut self.work, items));
        let handled = AssertUnwindSafe(limited).catch_unwind();
        let handled = db::unless_moved(&context.pool, handled).await.map_err(Undecided::Moved)?;
        let handled = handled.map_err(Undecided::Panicked)?.map_err(|_| Undecided::TooLong)?;
        let settled = handled.map_err(Undecided::Failed)?;
        if settled.verdicts.len() != items.len() {
            return Err(Undecided::Miscounted);
        }
        self.stage.ends("decide");
        Ok(settled)
    }

    async fn end_undecided(self, undecided: Undecided<W::Error>) -> BatchFailure {
        let lane = self.lane;
        match undecided {
            Undecided::Failed(error) => {
                self.abandon().await;
                BatchFailure::of(lane, &error).await
            }
            Undecided::Moved(error) => BatchFailure::of(lane, &error).await,
            Undecided::TooLong => {
                drop(self.work);
                BatchFailure::hung(lane, format!("it took longer than {:?}", lane.context.time_limit)).await
            }
            Undecided::Panicked(panic) => BatchFailure::panic::<W>(&*panic),
            Undecided::Miscounted => {
                BatchFailure::unknown("it did not give one verdict for each item".to_owned())
            }
        }
    }

    async fn forward(mut self, messages: Vec<Message>) -> Result<Self, BatchFailure> {
        if let Err(error) = self.lane.context.publisher.publish_all(messages).await {
            self.abandon().await;
            return Err(BatchFailure::publishing(&error));
        }
        self.stage.ends("forward");
        Ok(self)
    }

    /// Where Postgres does not answer, it may have committed or not. The lane settles the batch again; what had committed is a
    /// repeat then.
    async fn commit(self) -> Result<Stage, BatchFailure> {
        let Self { lane, work, stage } = self;
        let context = &lane.context;
        metrics::counter!("bursar_statements_total", "worker" => W::NAME).increment(work.statements());
        let committed = db::within(context.time_limit, "committing", work.commit());
        let committed = db::unless_moved(&context.pool, committed).await;
        match committed.and_then(|committed| committed) {
            Ok(()) => Ok(stage),
            Err(error) => Err(BatchFailure::of(lane, &error).await),
        }
    }

    /// Rolls back. Where Postgres does not answer it does so by itself once the connection is closed.
    async fn abandon(self) {
        let abandoned = async {
            self.work.abandon().await;
            Ok(())
        };
        if let Err(error) = db::within(self.lane.context.time_limit, "rolling back", abandoned).await {
            tracing::warn!(worker = W::NAME, %error, "a transaction is left for Postgres to roll back");
        }
    }
}
