//! What is known of the lanes: which consume, how long each has its batch in hand; and which of them, and of whatever else a
//! process does step by step, have met something that no limit ends.

use super::losses::{LOSSES_MAX, LOSSES_WITHIN};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A step limits whatever it waits for. A step that takes so many times as long as it may has met something that no limit
/// ends: a loop that never waits, for one.
const STEP_LIMITS: u32 = 4;

/// The lanes of a process, and what else it does step by step: passes, calls of jobs.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    lanes: BTreeMap<String, LaneHealth>,
    /// Batches and steps that are not over, by their number.
    in_hand: BTreeMap<u64, Busy>,
    begun: u64,
}

#[derive(Default)]
struct LaneHealth {
    is_consuming: bool,
    /// When its latest consumers were lost, since it last settled a batch.
    losses: Vec<Instant>,
}

struct Busy {
    /// The lane, or what else it is.
    name: String,
    since: Instant,
    /// Of a step: what it takes at most. A batch has none, for it waits as long as a server is away.
    limit: Option<Duration>,
}

/// Says that a lane is busy with a batch or a step, or something else with a step, until it is dropped.
#[must_use]
pub struct BusyGuard {
    health: Health,
    number: u64,
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.health.known().in_hand.remove(&self.number);
    }
}

impl Health {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn consumes(&self, lane: &str, is_consuming: bool) {
        self.known().lanes.entry(lane.to_owned()).or_default().is_consuming = is_consuming;
    }

    pub(super) fn lost(&self, lane: &str) {
        let mut known = self.known();
        let lane = known.lanes.entry(lane.to_owned()).or_default();
        lane.losses.retain(|lost| lost.elapsed() < LOSSES_WITHIN);
        lane.losses.push(Instant::now());
    }

    pub(super) fn settled(&self, lane: &str) {
        if let Some(lane) = self.known().lanes.get_mut(lane) {
            lane.losses.clear();
        }
    }

    /// A batch, from its first message until it is settled, with every pause.
    pub(super) fn batch(&self, lane: &str) -> BusyGuard {
        self.begin(lane, None)
    }

    /// A step of a batch that pauses for nobody, or one of something else. `limit`: what it may take. Where it takes several
    /// times as long without an end, `/healthz` names it, for only a new start ends it.
    pub fn step(&self, name: &str, limit: Duration) -> BusyGuard {
        self.begin(name, Some(STEP_LIMITS * limit))
    }

    fn begin(&self, name: &str, limit: Option<Duration>) -> BusyGuard {
        let mut known = self.known();
        known.begun += 1;
        let number = known.begun;
        known.in_hand.insert(number, Busy { name: name.to_owned(), since: Instant::now(), limit });
        BusyGuard { health: self.clone(), number }
    }

    /// Whether any lane has ever had a consumer.
    pub fn has_started(&self) -> bool {
        !self.known().lanes.is_empty()
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

    /// The lanes, and what else, that stand still though all servers answer: a step of theirs takes far longer than all its
    /// limits allow.
    pub fn stuck(&self) -> Vec<String> {
        let is_over = |busy: &&Busy| busy.limit.is_some_and(|limit| busy.since.elapsed() > limit);
        let stuck: BTreeSet<String> =
            self.known().in_hand.values().filter(is_over).map(|busy| busy.name.clone()).collect();
        stuck.into_iter().collect()
    }

    fn which(&self, holds: impl Fn(&LaneHealth) -> bool) -> Vec<String> {
        self.known().lanes.iter().filter(|(_, lane)| holds(lane)).map(|(name, _)| name.clone()).collect()
    }

    /// How long each lane has had its batch in hand, whatever it waits for; none is zero.
    pub fn busy(&self) -> Vec<(String, Duration)> {
        let known = self.known();
        let longest = |name: &String| {
            let in_hand = known.in_hand.values().filter(|busy| busy.name == *name);
            in_hand.map(|busy| busy.since.elapsed()).max().unwrap_or_default()
        };
        known.lanes.keys().map(|name| (name.clone(), longest(name))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_takes_far_longer_than_its_limit_is_stuck_until_it_is_over() {
        let (health, second) = (Health::default(), Duration::from_secs(1));
        health.consumes("ledger.0", true);
        let batch = health.batch("ledger.0");
        let steps = [health.step("ledger/expiry", second), health.step("ledger/expiry", 100 * second)];
        tokio::time::advance(4 * second).await;
        assert!(health.stuck().is_empty());
        tokio::time::advance(second).await;
        assert_eq!(health.stuck(), ["ledger/expiry"]);
        assert_eq!(health.busy(), [("ledger.0".to_owned(), 5 * second)], "of lanes alone");
        assert!(health.idle().is_empty(), "a pass is no lane that lacks its consumer");
        drop(steps);
        assert!(health.stuck().is_empty());
        drop(batch);
        assert_eq!(health.busy(), [("ledger.0".to_owned(), Duration::ZERO)]);
    }

    #[test]
    fn a_process_without_lanes_has_not_started() {
        let health = Health::default();
        let _step = health.step("ledger/expiry", Duration::from_secs(1));
        assert!(!health.has_started());
    }
}
