//! What was decided of a fact, or why it can never be applied.

use crate::envelope::Cause;
use crate::event::Event;
use crate::ids::PaymentId;
use crate::journal::Transaction;
use crate::outcome::Outcome;

#[derive(Debug)]
pub struct Decision {
    pub outcome: Outcome,
    /// A movement in another currency than its payment's: the rest of the payment is held, an operator states the amount.
    pub foreign_currency: bool,
    pub transactions: Vec<Transaction>,
    pub events: Vec<Event>,
}

/// Why a fact can never be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "expected ids of one purchase, got ids of two payments that were both delivered ({0} and {1}): an operator must say which is right"
    )]
    TwoDelivered(PaymentId, PaymentId),
    #[error("expected an account's credits to stay below 10^15, got more from {0}")]
    TooManyCredits(Cause),
}
