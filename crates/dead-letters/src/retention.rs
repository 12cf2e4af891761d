//! Closed letters are kept for a time, and with them their replays and the kinds of failures they are of; open ones for good.

mod store;

pub use store::purge;

use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LetterRetention {
    /// Of letters that were resolved, or went on as another letter.
    pub resolved: Duration,
    /// Of discarded letters: so long they can be taken back.
    pub discarded: Duration,
}
