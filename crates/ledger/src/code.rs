//! The codes of dead letters that the ledger gives.

use domain::ledger::Refusal;

pub use facts::MALFORMED;
pub const TWO_PAYMENTS: &str = "two_payments";
pub const TOO_MANY_CREDITS: &str = "too_many_credits";

pub const ALL: [&str; 3] = [MALFORMED, TWO_PAYMENTS, TOO_MANY_CREDITS];

pub(crate) fn of(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::TwoDelivered(..) => TWO_PAYMENTS,
        Refusal::TooManyCredits(_) => TOO_MANY_CREDITS,
    }
}
