//! Where every admitted fact is, at each of its readers: admitted = not handed over + applied + no-op + waiting + ignored +
//! contradicts + refused + dead-lettered + in flight.
//!
//! What a worker may still be about to write counts as in flight for a while, and is found by name afterwards. What was
//! admitted before a reader came is none of its facts, unless it was handed over.

mod store;

pub use store::{counts, outcomes_admitted, refusals_kept, unsettled};

use serde::Serialize;

/// Where the facts are of the kinds that one reader is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ReaderCounts {
    pub reader: String,
    /// Facts of its kinds.
    pub admitted: i64,
    /// Admitted before the reader existed: no hand-over has given them to it.
    pub not_handed_over: i64,
    /// Without an outcome, for the reader gave up on them: their letters are open, being replayed, or discarded.
    pub dead_lettered: i64,
    pub in_flight: i64,
    pub applied: i64,
    pub no_op: i64,
    pub waiting: i64,
    pub ignored: i64,
    pub contradicts: i64,
    /// Given up on with an outcome of their own: each is a dead letter, too.
    pub refused: i64,
}

impl ReaderCounts {
    pub fn settled(&self) -> i64 {
        self.applied + self.no_op + self.waiting + self.ignored + self.contradicts + self.refused
    }
}

/// What breaks a rule: an account, a transaction (`acct_42 #7`), a lot, a payment, a fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Culprit {
    pub subject: String,
    pub expected: String,
    pub got: String,
}
