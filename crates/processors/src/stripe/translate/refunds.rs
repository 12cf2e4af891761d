//! Refunds: each an object with a status of its own, told by its own events or inside of its charge.

use super::payments::charge;
use super::{Context, expandable_payment, money, others, payment_of};
use crate::delivery::SetAside;
use crate::fields::Field;
use crate::stripe::NAME;
use domain::fact::{Movement, MovementKind, MovementStatus};
use domain::{Fact, PaymentId};

/// Where a refund that Bursar asked for names the hold that it carries out.
const HOLD_KEY: &str = "bursar_hold";

/// Up to API version 2022-11-15 the charge carries its latest refunds; later ones send `refund.*` for each. What the
/// charge counts itself, `amount_refunded`, is cumulative and belongs to no refund: it is never read.
pub fn refunded_charge(context: &Context<'_>, object: Field<'_>) -> Result<Vec<Fact>, SetAside> {
    let mut facts = charge(context, object)?;
    let charge = object.get("id").payment_id(NAME)?;
    let payment = expandable_payment(object.get("payment_intent"))?.unwrap_or_else(|| charge.clone());
    for refund in object.get("refunds").get("data").elements()? {
        facts.push(refund_movement(
            context,
            refund,
            payment.clone(),
            others(&payment, [Some(charge.clone())]),
        )?);
    }
    Ok(facts)
}

pub fn refund(context: &Context<'_>, object: Field<'_>) -> Result<Vec<Fact>, SetAside> {
    let (payment, aliases) = payment_of(object)?;
    Ok(vec![refund_movement(context, object, payment, aliases)?])
}

fn refund_movement(
    context: &Context<'_>,
    refund: Field<'_>,
    payment: PaymentId,
    aliases: Vec<PaymentId>,
) -> Result<Fact, SetAside> {
    Ok(Fact::Movement(Movement {
        lines: Vec::new(),
        movement: refund.get("id").id()?.to_owned(),
        payment,
        aliases,
        kind: MovementKind::Refund,
        status: refund_status(refund.get("status"))?,
        amount: money(refund, "amount")?,
        full: false,
        hold: refund.get("metadata").printable(HOLD_KEY).map(str::to_owned),
        occurred_at: context.occurred_at,
    }))
}

fn refund_status(status: Field<'_>) -> Result<MovementStatus, SetAside> {
    const EXPECTED: &str = "pending, requires_action, succeeded, failed or canceled";
    match status.required_text(EXPECTED)? {
        "pending" | "requires_action" => Ok(MovementStatus::Pending),
        "succeeded" => Ok(MovementStatus::Final),
        "failed" | "canceled" => Ok(MovementStatus::Void),
        _ => Err(status.unknown(EXPECTED)),
    }
}
