//! The consumers that a lane lost.

use std::time::Duration;
use tokio::time::Instant;

/// A server that is started again ends a consumer once. So many within the time have a cause of their own.
pub(super) const LOSSES_MAX: usize = 3;
pub(super) const LOSSES_WITHIN: Duration = Duration::from_secs(30);

/// When a lane lost its consumers; a broker that was away all along cost it none.
///
/// The workers of a process share a connection, which costs 8 MiB of memory, as long as it serves. What ends the connection
/// over and over may lie in the queue of one of them. Once each has a connection of its own, it stops that worker alone.
#[derive(Default)]
pub(super) struct Losses(Vec<Instant>);

impl Losses {
    /// A consumer was lost just now.
    pub fn note(&mut self) {
        if !self.are_many() {
            self.0.retain(|lost| lost.elapsed() < LOSSES_WITHIN);
            self.0.push(Instant::now());
        }
    }

    /// Whether the lane goes on by a connection apart. Once true it stays true.
    pub fn are_many(&self) -> bool {
        self.0.len() >= LOSSES_MAX
    }
}
