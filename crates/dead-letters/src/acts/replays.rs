//! Replays as operators begin, pause and end them. The worker carries them out: see [`crate::replay`].

mod store;

pub use store::{cancel, pause, release, resume, start_replay};

/// How a replay goes about it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ReplayPace {
    pub canary: Option<i32>,
    /// Messages a second.
    pub rate: Option<f64>,
}
