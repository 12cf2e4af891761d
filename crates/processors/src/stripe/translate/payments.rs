//! A purchase's payment intent and charge.

use super::refunds::refunds_of;
use super::sold::describe;
use crate::fields::Field;
use crate::set_aside::SetAside;
use crate::stripe::objects::{EventContext, NAME, expandable_payment, is_captured, money, others};
use domain::Fact;
use domain::fact::{Payment, PaymentStatus};

/// A payment intent as it looks now.
///
/// # Errors
/// Why it gives no facts to act on.
pub fn payment_intent(context: &EventContext<'_>, object: Field<'_>) -> Result<Vec<Fact>, SetAside> {
    const EXPECTED: &str = "succeeded or requires_capture";
    let status = object.get("status");
    let (status, amount) = match &*status.required_text(EXPECTED)? {
        "succeeded" => (PaymentStatus::Paid, "amount_received"),
        // Authorised: what it names may be said by nobody else when the charge is captured.
        "requires_capture" => (PaymentStatus::Pending, "amount"),
        "requires_payment_method"
        | "requires_confirmation"
        | "requires_action"
        | "processing"
        | "canceled" => return Err(status.no_effect()),
        _ => return Err(status.unknown(EXPECTED)),
    };
    let payment = object.get("id").payment_id(NAME)?;
    let charge = expandable_payment(object.get("latest_charge"))?;
    let amount = money(object, amount)?;
    Ok(vec![Fact::Payment(Payment {
        aliases: others(&payment, [charge]),
        precedence: 1,
        status,
        ..describe(context, object, payment, amount)?
    })])
}

/// With its refunds, where the charge lists them: up to API version 2022-11-15 it carries the latest ones, later ones
/// send `refund.*` for each. What the charge counts itself, `amount_refunded`, is cumulative and belongs to no refund.
///
/// # Errors
/// Why it gives no facts to act on.
pub fn charge(context: &EventContext<'_>, object: Field<'_>) -> Result<Vec<Fact>, SetAside> {
    const EXPECTED: &str = "succeeded, pending or failed";
    let status = object.get("status");
    match &*status.required_text(EXPECTED)? {
        "succeeded" => {}
        "pending" | "failed" => return Err(status.no_effect()),
        _ => return Err(status.unknown(EXPECTED)),
    }
    if object.get("paid").boolean() != Some(true) {
        return Err(SetAside::no_effect("data.object: is neither paid nor authorised"));
    }
    let charge = object.get("id").payment_id(NAME)?;
    let payment = expandable_payment(object.get("payment_intent"))?.unwrap_or_else(|| charge.clone());
    let aliases = others(&payment, [Some(charge)]);
    let (status, amount) = capture(object);
    let mut facts = vec![Fact::Payment(Payment {
        aliases: aliases.clone(),
        precedence: 2,
        status,
        ..describe(context, object, payment.clone(), money(object, amount)?)?
    })];
    facts.extend(refunds_of(context, object, &payment, &aliases)?);
    Ok(facts)
}

/// An authorisation has succeeded as well; it pays when it is captured, and what is captured may be less. If it is
/// released instead, nothing ever comes of it.
fn capture(charge: Field<'_>) -> (PaymentStatus, &'static str) {
    if is_captured(charge) {
        let has_captured = charge.get("amount_captured").integer().is_some_and(|amount| amount > 0);
        (PaymentStatus::Paid, if has_captured { "amount_captured" } else { "amount" })
    } else if charge.get("refunded").boolean() == Some(true) {
        (PaymentStatus::Failed, "amount")
    } else {
        (PaymentStatus::Pending, "amount")
    }
}
