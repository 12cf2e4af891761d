//! What is known of the lanes: which consume, how long each has its batch in hand, and which have met something that no
//! limit ends.

use super::losses::{LOSSES_MAX, LOSSES_WITHIN};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The lanes of a process.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, LaneHealth>>>);

#[derive(Default)]
struct LaneHealth {
    is_consuming: bool,
    /// When its latest consumers were lost, since it last settled a batch.
    losses: Vec<Instant>,
    /// Batches and steps that are not over.
    in_hand: BTreeMap<u64, Busy>,
    begun: u64,
}

struct Busy {
    since: Instant,
    /// Of a step: what it takes at most. A batch has none, for it waits as long as a server is away.
    limit: Option<Duration>,
}

/// Says that a lane is busy with a batch or a step, until it is dropped.
pub(super) struct BusyGuard {
    health: Health,
    lane: String,
    number: u64,
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        if let Some(lane) = self.health.lanes().get_mut(&self.lane) {
            lane.in_hand.remove(&self.number);
        }
    }
}

impl Health {
    fn lanes(&self) -> MutexGuard<'_, BTreeMap<String, LaneHealth>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn consumes(&self, lane: &str, is_consuming: bool) {
        self.lanes().entry(lane.to_owned()).or_default().is_consuming = is_consuming;
    }

    pub(super) fn lost(&self, lane: &str) {
        let mut lanes = self.lanes();
        let lane = lanes.entry(lane.to_owned()).or_default();
        lane.losses.retain(|lost| lost.elapsed() < LOSSES_WITHIN);
        lane.losses.push(Instant::now());
    }

    pub(super) fn settled(&self, lane: &str) {
        if let Some(lane) = self.lanes().get_mut(lane) {
            lane.losses.clear();
        }
    }

    /// A batch, from its first message until it is settled, with every pause.
    pub(super) fn batch(&self, lane: &str) -> BusyGuard {
        self.begin(lane, None)
    }

    /// A step of a batch that pauses for nobody.
    pub(super) fn step(&self, lane: &str, limit: Duration) -> BusyGuard {
        self.begin(lane, Some(limit))
    }

    fn begin(&self, name: &str, limit: Option<Duration>) -> BusyGuard {
        let mut lanes = self.lanes();
        let lane = lanes.entry(name.to_owned()).or_default();
        lane.begun += 1;
        lane.in_hand.insert(lane.begun, Busy { since: Instant::now(), limit });
        BusyGuard { health: self.clone(), lane: name.to_owned(), number: lane.begun }
    }

    /// Whether any lane has ever had a consumer.
    pub fn has_started(&self) -> bool {
        !self.lanes().is_empty()
    }

    /// The lanes that have no consumer.
    pub fn idle(&self) -> Vec<String> {
        self.which(|lane| !lane.is_consuming)
    }

    /// The lanes that lose every consumer before they settle anything: something in their queue kills the connection.
    pub fn losing(&self) -> Vec<String> {
        let lately = |lost: &&Instant| lost.elapsed() < LOSSES_WITHIN;
        self.which(|lane| lane.losses.iter().filter(lately).count() >= LOSSES_MAX)
    }

    /// The lanes that stand still though all servers answer: a step of theirs takes far longer than all its limits allow.
    pub fn stuck(&self) -> Vec<String> {
        let is_over = |doing: &Busy| doing.limit.is_some_and(|limit| doing.since.elapsed() > limit);
        self.which(|lane| lane.in_hand.values().any(is_over))
    }

    fn which(&self, holds: impl Fn(&LaneHealth) -> bool) -> Vec<String> {
        self.lanes().iter().filter(|(_, lane)| holds(lane)).map(|(name, _)| name.clone()).collect()
    }

    /// How long each lane has had its batch in hand, whatever it waits for; none is zero.
    pub fn busy(&self) -> Vec<(String, Duration)> {
        let busy = |lane: &LaneHealth| lane.in_hand.values().map(|doing| doing.since.elapsed()).max();
        self.lanes().iter().map(|(name, lane)| (name.clone(), busy(lane).unwrap_or_default())).collect()
    }
}
