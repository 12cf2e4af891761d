//! The ledger's rule: facts in, difference out.
//!
//! [`decide`] records a fact, computes what should now hold of its payment (the target), and posts what is missing
//! between the target and what is already reversed and held, as balanced journal transactions. It never adds or
//! subtracts "what the event says": that is how others double-credit, over-claw and under-claw.
//!
//! The target of a payment, from its record alone. Each movement counts at most the whole before it is added; what is gone is
//! refunds, and chargebacks less backs. Where a payment has lines, what a movement names counts against its line and what
//! names none falls on the lines in proportion to what is left of each (`record/gone.rs`); credits to be reversed are the sum
//! of each line's share, rounded once. What a payment grants is quantity times share of the catalog's prices, else a rate, as
//! far as that applies (`catalog.rs`). What is in doubt is not guessed: it stays undelivered, and is told.
//! What only a rate granted and turns out to be for something else is taken back. The order of facts does not matter but for
//! what contradicts: a payment keeps what it was granted where a later description makes its worth unknown.
//!
//! What holds after every call, whatever the facts and their order:
//! - each transaction sums to zero; each lot adds up; each account's balances are the sums of its lots and debt;
//! - a payment's lots have reversed exactly its target, never more than was granted;
//! - `available > 0` and `debt > 0` never together;
//! - each account's transactions and events are numbered without gaps.
//!
//! The [`Books`] hold the part of the state that a batch touches; the caller has locked it. On an error nothing in
//! them has changed.

mod acts;
mod books;
mod credits;
mod decision;
mod delivery;
mod grants;
mod links;
mod lots;
mod moving;
mod posting;
mod recording;
mod reversal;
mod rules;
mod usage;

pub use books::{Account, Books, LedgerPayment, PaymentState};
pub use decision::{Decision, Refusal};
pub use lots::{Lots, payment_lot};
pub use rules::{RecordedRules, Rules};

use crate::envelope::Cause;
use crate::fact::Fact;
use crate::ids::PaymentId;
use crate::outcome::Outcome;
use posting::Posting;
use time::OffsetDateTime;

/// Decides what a fact changes. `at` is when the batch was taken up: the time of its transactions and events.
///
/// A fact about a payment is addressed by `payment`, which [`Books::unite`] gave for the ids that it names.
///
/// # Errors
/// [`Refusal`]: it can never be applied; the books are as they were.
pub fn decide(
    books: &mut Books,
    rules: &Rules,
    cause: &Cause,
    at: OffsetDateTime,
    fact: &Fact,
    payment: Option<&PaymentId>,
) -> Result<Decision, Refusal> {
    let mut posting = Posting::new(rules, cause, at);
    let outcome = match (fact, payment) {
        (Fact::Usage(usage), _) => posting.usage(books, usage)?,
        (Fact::Grant(grant), _) => posting.grant(books, grant)?,
        (Fact::Customer(customer), _) => posting.customer(books, customer),
        (Fact::Adjustment(adjustment), _) => posting.adjust(books, adjustment)?,
        (Fact::Expiry(expiry), _) => posting.expire(books, expiry),
        (Fact::Assignment(assignment), Some(id)) => posting.assign(books, id, assignment)?,
        (Fact::Valuation(valuation), Some(id)) => {
            posting.movement = Some(valuation.movement.clone());
            posting.recorded(books, id, |record| record.note_valuation(&cause.id, valuation))
        }
        (Fact::Payment(described), Some(id)) => {
            posting.recorded(books, id, |record| record.describe(&cause.id, described))
        }
        (Fact::Movement(movement), Some(id)) => {
            posting.movement = Some(movement.movement.clone());
            posting.recorded(books, id, |record| record.note_movement(&cause.id, movement))
        }
        (Fact::Hold(hold), Some(id)) => {
            posting.recorded(books, id, |record| record.note_hold(&cause.id, hold))
        }
        (Fact::Dispute(_) | Fact::RefundRequest(_) | Fact::Restriction(_) | Fact::Unrecognised(_), _)
        | (
            Fact::Payment(_) | Fact::Movement(_) | Fact::Hold(_) | Fact::Assignment(_) | Fact::Valuation(_),
            None,
        ) => Outcome::Ignored,
    };
    Ok(posting.finish(books, outcome))
}

#[cfg(test)]
mod tests;
