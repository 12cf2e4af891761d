//! Deciding a batch: tried again where a server is away, split where an item is at fault.

use super::attempt::attempt;
use super::context::LaneContext;
use super::failure::BatchFailure;
use super::shards::ShardPart;
use super::stop::{Stop, pause};
use super::suspect::Tried;
use super::worker::{Verdict, Worker};
use crate::backoff::Delays;
use domain::Outcome;
use futures_util::future::try_join_all;

/// What became of an item: its outcome, or why there is none.
pub(super) type Decided = Result<Outcome, BatchFailure>;

/// Decides the parts of a batch side by side; one decision for each item, in their order.
pub(super) async fn decide<W: Worker>(
    lane: &LaneContext<W>,
    items: &[W::Item],
    parts: &[ShardPart],
    tried: Option<&Tried>,
) -> Result<Vec<Decided>, Stop> {
    let mut rest = items;
    let parts = parts.iter().map(|part| {
        let (items, others) = rest.split_at(part.items);
        rest = others;
        Splitting::new(lane, part.shard, items, tried).run()
    });
    Ok(try_join_all(parts.collect::<Vec<_>>()).await?.into_iter().flatten().collect())
}

/// A part of a batch, decided in as few transactions as it takes: what fails is split until the culprit stands alone.
struct Splitting<'a, W: Worker> {
    lane: &'a LaneContext<W>,
    shard: Option<usize>,
    tried: Option<&'a Tried>,
    /// Not decided yet; the last is the next.
    open: Vec<&'a [W::Item]>,
    decided: Vec<Decided>,
    delays: Delays,
}

impl<'a, W: Worker> Splitting<'a, W> {
    fn new(
        lane: &'a LaneContext<W>,
        shard: Option<usize>,
        items: &'a [W::Item],
        tried: Option<&'a Tried>,
    ) -> Self {
        let open = if items.is_empty() { Vec::new() } else { vec![items] };
        let decided = Vec::with_capacity(items.len());
        Self { lane, shard, tried, open, decided, delays: Delays::for_servers() }
    }

    async fn run(mut self) -> Result<Vec<Decided>, Stop> {
        while let Some(items) = self.open.pop() {
            match attempt(self.lane, self.shard, items, self.tried.is_some()).await {
                Ok(verdicts) => self.accept(verdicts),
                Err(failure) if failure.is_transient() => {
                    self.open.push(items);
                    self.wait(&failure).await?;
                }
                Err(failure) if items.len() == 1 => self.decided.push(Err(failure)),
                Err(failure) => self.split(items, &failure),
            }
        }
        Ok(self.decided)
    }

    fn accept(&mut self, verdicts: Vec<Verdict>) {
        self.delays.reset();
        self.decided.extend(verdicts.into_iter().map(decision));
    }

    fn split(&mut self, items: &'a [W::Item], failure: &BatchFailure) {
        tracing::warn!(worker = W::NAME, why = failure.why, facts = items.len(), "batch split");
        let (first, second) = items.split_at(items.len() / 2);
        self.open.extend([second, first]);
    }

    /// The pause before another attempt at the same items. A suspect is not tried meanwhile.
    async fn wait(&mut self, failure: &BatchFailure) -> Result<(), Stop> {
        let delay = self.delays.next_delay();
        tracing::warn!(worker = W::NAME, why = failure.why, retry_ms = delay.as_millis() as u64, "paused");
        let context = &self.lane.context;
        if let Some(tried) = self.tried {
            tried.pause(&context.pool).await;
        }
        pause(delay, &context.stop).await?;
        if let Some(tried) = self.tried {
            tried.resume(&context.pool, &context.stop).await?;
        }
        Ok(())
    }
}

fn decision(verdict: Verdict) -> Decided {
    match verdict {
        Verdict::Done(outcome) => Ok(outcome),
        Verdict::Dead { code, reason } => Err(BatchFailure::poison(code, reason)),
    }
}
