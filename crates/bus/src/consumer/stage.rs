//! Times the stages of a batch: where a slow worker waits is the first question that is asked at night.

use super::worker::Worker;
use tokio::time::Instant;

pub(super) struct Stage {
    worker: &'static str,
    since: Instant,
}

impl Stage {
    /// The first stage begins.
    pub fn start<W: Worker>() -> Self {
        Self { worker: W::NAME, since: Instant::now() }
    }

    /// One stage ends, and the next begins.
    pub fn ends(&mut self, name: &'static str) {
        let now = Instant::now();
        metrics::histogram!("bursar_stage_seconds", "worker" => self.worker, "stage" => name)
            .record(now - self.since);
        self.since = now;
    }
}
