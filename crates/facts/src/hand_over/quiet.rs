//! Whether a hand-over that drains waits for what has vanished.

use super::Draining;
use std::time::Duration;
use tokio::time::Instant;

/// A reader that has a consumer and whose queue is empty, and that settles nothing of the list for so long, does not have what is
/// left of it. Longer than a batch may take, and than most messages rest on the retry ladder; one that comes twice is a repeat.
pub const QUIET: Duration = Duration::from_secs(120);

/// Watches one hand-over, look after look.
#[derive(Debug, Default)]
pub struct QuietWatch {
    since: Option<Instant>,
}

impl QuietWatch {
    /// Whether what is left has vanished. Once it says so it begins to watch anew.
    pub fn has_vanished(&mut self, draining: &Draining) -> bool {
        let waits = draining.depth.is_none_or(|depth| depth.ready > 0 || depth.consumers == 0);
        if waits || draining.gone > 0 {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let is_over = since.elapsed() >= QUIET;
        if is_over {
            self.since = None;
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hand_over::{HandOver, HandOverState};
    use bus::QueueDepth;
    use time::OffsetDateTime;
    use uuid::Uuid;

    fn look(gone: u64, ready: u32, consumers: u32) -> Draining {
        let hand_over = HandOver {
            hand_over: Uuid::nil(),
            kind: "fact.dispute".to_owned(),
            reader: "late".to_owned(),
            state: HandOverState::Running,
            began_at: OffsetDateTime::UNIX_EPOCH,
            by: "ada".to_owned(),
            facts: 3,
            handed_over: 3,
            left_out: 0,
            unreadable: 0,
        };
        Draining { hand_over, settled: 0, gone, depth: Some(QueueDepth { ready, consumers }) }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_neither_in_the_queue_nor_settled_for_long_has_vanished() {
        let mut watch = QuietWatch::default();
        let almost = QUIET - Duration::from_secs(1);
        for interruption in [look(1, 0, 1), look(0, 1, 1), look(0, 0, 0)] {
            assert!(!watch.has_vanished(&look(0, 0, 1)));
            tokio::time::advance(almost).await;
            assert!(!watch.has_vanished(&interruption), "{interruption:?}");
            tokio::time::advance(almost).await;
        }
        assert!(!watch.has_vanished(&look(0, 0, 1)));
        tokio::time::advance(QUIET).await;
        assert!(watch.has_vanished(&look(0, 0, 1)));
        assert!(!watch.has_vanished(&look(0, 0, 1)), "it is watched anew");
    }
}
