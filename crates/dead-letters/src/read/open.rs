//! Open letters in figures: how many, how old, and what hangs on them.

mod store;

pub(crate) use store::at_stake;
pub use store::gauges;

use time::OffsetDateTime;

/// Open letters of one worker and code, for metrics. The oldest is what failed first.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenLetters {
    pub worker: String,
    pub code: String,
    pub open: i64,
    pub oldest: OffsetDateTime,
}
