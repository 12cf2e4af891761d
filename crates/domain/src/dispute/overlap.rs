//! Refunds and disputes on one payment.

use crate::money::Money;
use crate::record::{PaymentRecord, Reading};
use serde::Serialize;

/// A payment on which there are both refunds and a dispute. Refund and dispute are independent: a refund minutes before a
/// chargeback may stay, and then both are paid. Credits follow at most what was paid, so the rest is the platform's loss.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overlap {
    pub paid: Money,
    pub refunded: Money,
    pub refunds_pending: Money,
    /// Charged back and not given back.
    pub disputed: Money,
    /// What went back beyond what was paid.
    pub cost: Money,
}

/// Where refunds and a dispute meet on a payment: what went back, and what that costs. `None` where there is only one of
/// them, and while it is not known what was paid. `is_disputed`: a case stands, though its money may not be withdrawn yet.
pub fn overlap(record: &PaymentRecord, is_disputed: bool) -> Option<Overlap> {
    let paid = record.terms(Reading::TODAY)?.total;
    let returned = record.returned(paid);
    let is_refunded = !returned.refunded.is_zero() || !returned.refunds_pending.is_zero();
    if !is_refunded || (returned.disputed.is_zero() && !is_disputed) {
        return None;
    }
    let money = |amount| Money::new(amount, paid.currency()).ok();
    let over = returned.refunded + returned.disputed - paid.amount();
    Some(Overlap {
        paid,
        refunded: money(returned.refunded)?,
        refunds_pending: money(returned.refunds_pending)?,
        disputed: money(returned.disputed)?,
        cost: money(over.max(rust_decimal::Decimal::ZERO))?,
    })
}
