//! Settling a batch: decided, handed over, counted.

use super::batch::Batch;
use super::context::LaneContext;
use super::decide::{Decided, decide};
use super::failure::BatchFailure;
use super::handover::hand_over;
use super::replay_outcomes::ReplayOutcomes;
use super::shards::ShardPart;
use super::stop::Stop;
use super::unsettled::Unsettled;
use super::worker::Worker;
use crate::fate::Fate;
use crate::incoming::Incoming;
use crate::message::Message;
use crate::onward::Payload;
use domain::Outcome;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// Settles every item of a batch; then it may be acknowledged. Fails only where the lane was asked to stop before that.
pub(super) async fn settle<W: Worker>(lane: &LaneContext<W>, mut batch: Batch<W::Item>) -> Result<(), Stop> {
    let parts = parts(lane, &mut batch);
    let tried = batch.tried.take();
    let decided = decide(lane, &batch.items, &parts, tried.as_ref()).await;
    if let Some(tried) = tried {
        tried.end(&lane.context.pool).await;
    }
    let BatchSettlement { counts, onward } = BatchSettlement::of(&*lane.worker, &mut batch, decided?);
    hand_over(lane, onward.into_messages(lane, &batch.messages)).await?;
    counts.record(&*lane.worker, &batch.items);
    Ok(())
}

/// A batch by its shards; one that is tried stays whole, for it is one try after the other.
fn parts<W: Worker>(lane: &LaneContext<W>, batch: &mut Batch<W::Item>) -> Vec<ShardPart> {
    match batch.tried {
        Some(_) => vec![ShardPart { shard: None, items: batch.items.len() }],
        None => lane.shards.split(&*lane.worker, &mut batch.items, &mut batch.origins),
    }
}

/// What became of the items of a batch.
struct BatchSettlement {
    counts: OutcomeCounts,
    onward: Onward,
}

impl BatchSettlement {
    fn of<W: Worker>(worker: &W, batch: &mut Batch<W::Item>, decisions: Vec<Decided>) -> Self {
        let mut counts = OutcomeCounts::default();
        let unsettled = std::mem::take(&mut batch.unsettled);
        let mut onward = Onward { unsettled, replays: ReplayOutcomes::default() };
        for (place, decision) in decisions.into_iter().enumerate() {
            let origin = batch.origins[place];
            match decision {
                Ok(outcome) => {
                    counts.add(outcome);
                    onward.done(origin, &batch.messages[origin], outcome);
                }
                Err(failure) => {
                    let payload = match batch.sole_body(origin) {
                        Some(body) => Payload { content_type: None, body: body.to_vec() },
                        None => Payload::of_part(worker.encode(&batch.items[place])),
                    };
                    let again = failure.fate == Fate::Unknown;
                    let BatchFailure { code, why, .. } = failure;
                    onward.unsettled.push(Unsettled { origin, payload, code, why, again });
                }
            }
        }
        Self { counts, onward }
    }
}

/// What must be with the broker before the batch is acknowledged.
struct Onward {
    unsettled: Vec<Unsettled>,
    replays: ReplayOutcomes,
}

impl Onward {
    fn done(&mut self, origin: usize, message: &Incoming, outcome: Outcome) {
        if message.replayed().is_some() {
            self.replays.add(origin, outcome);
        }
    }

    fn into_messages<W: Worker>(self, lane: &LaneContext<W>, messages: &[Incoming]) -> Vec<Message> {
        let Self { unsettled, mut replays } = self;
        for unsettled in &unsettled {
            replays.forget(unsettled.origin);
        }
        let mut onward: Vec<Message> = unsettled
            .into_iter()
            .map(|unsettled| {
                let origin = &messages[unsettled.origin];
                unsettled.onward(lane, origin)
            })
            .collect();
        onward.extend(replays.into_message(&lane.context.namespace, messages));
        onward
    }
}

/// How many items had which outcome.
#[derive(Default)]
struct OutcomeCounts(BTreeMap<Outcome, u64>);

impl OutcomeCounts {
    fn add(&mut self, outcome: Outcome) {
        *self.0.entry(outcome).or_default() += 1;
    }

    fn record<W: Worker>(self, worker: &W, items: &[W::Item]) {
        for (outcome, count) in self.0 {
            metrics::counter!("bursar_facts_total", "worker" => W::NAME, "outcome" => outcome.as_str())
                .increment(count);
        }
        metrics::histogram!("bursar_batch_facts", "worker" => W::NAME).record(items.len() as f64);
        let latency = metrics::histogram!("bursar_latency_seconds", "worker" => W::NAME);
        let now = OffsetDateTime::now_utc();
        for received_at in items.iter().filter_map(|item| worker.received_at(item)) {
            latency.record((now - received_at).as_seconds_f64().max(0.0));
        }
    }
}
