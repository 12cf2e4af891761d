//! Refunds: each an object with a status of its own, told by its own events or inside of its charge.
//!
//! Not every refund object is money that went back. Endpoints of an API version before 2025-03-31.basil list what was
//! authorised and never captured among a charge's refunds
//! (<https://docs.stripe.com/changelog/basil/2025-03-31/remove-refund-from-partial-capture-and-payment-cancellation-flow>).
//! Such a release has a balance transaction, a status and an amount like any refund; the charge alone gives it away. It
//! becomes a movement that is void, and stays void when an event of its own, which cannot tell, calls it succeeded.

use crate::fields::Field;
use crate::set_aside::SetAside;
use crate::stripe::objects::{EventContext, is_captured, money, payment_of};
use domain::fact::{Movement, MovementKind, MovementStatus};
use domain::{Fact, PaymentId};

/// Where a refund that Bursar asked for names the hold that it carries out.
const HOLD_KEY: &str = "bursar_hold";

/// The reason of a release because the amount was not captured in time.
const EXPIRED: &str = "expired_uncaptured_charge";

/// From this API version on a release is no refund. Versions begin with their date.
const RELEASES_UNTIL: &str = "2025-03-31";

/// What a charge says of its refunds.
///
/// # Errors
/// Why it gives no facts to act on.
pub fn refunds_of(
    context: &EventContext<'_>,
    charge: Field<'_>,
    payment: &PaymentId,
    aliases: &[PaymentId],
) -> Result<Vec<Fact>, SetAside> {
    let refunds: Vec<Field<'_>> = charge.get("refunds").get("data").elements()?.collect();
    let release = if lists_releases(context) { release_in(charge, &refunds)? } else { None };
    let movements = refunds.into_iter().enumerate().map(|(position, refund)| {
        let is_release = !is_captured(charge) || release == Some(position);
        refund_movement(context, refund, payment.clone(), aliases.to_vec(), is_release)
    });
    movements.collect()
}

fn lists_releases(context: &EventContext<'_>) -> bool {
    context.api_version.is_none_or(|version| version < RELEASES_UNTIL)
}

/// Which of a captured charge's refunds is the part that was never captured: as large as that part, and the first of
/// such a size, since it is made by the capture itself. Where the list goes on it is too old to be here.
fn release_in(charge: Field<'_>, refunds: &[Field<'_>]) -> Result<Option<usize>, SetAside> {
    let captured = charge.get("amount_captured");
    let is_whole_list = charge.get("refunds").get("has_more").boolean() != Some(true);
    if refunds.is_empty() || captured.is_absent() || !is_captured(charge) || !is_whole_list {
        return Ok(None);
    }
    let captured = captured.minor_units_number()?;
    let uncaptured = charge.get("amount").minor_units_number()?.saturating_sub(captured);
    if captured <= 0 || uncaptured <= 0 {
        return Ok(None);
    }
    let mut first: Option<(i64, usize)> = None;
    // Newest first: of two in one second the later in the list is the earlier one.
    for (position, refund) in refunds.iter().enumerate() {
        let created = refund.get("created").integer().unwrap_or(i64::MAX);
        let is_candidate = refund.get("amount").minor_units_number()? == uncaptured
            && refund.get("status").text().as_deref() == Some("succeeded");
        if is_candidate && first.is_none_or(|(earliest, _)| created <= earliest) {
            first = Some((created, position));
        }
    }
    Ok(first.map(|(_, position)| position))
}

/// A refund as it looks now.
///
/// # Errors
/// Why it gives no facts to act on.
pub fn refund(context: &EventContext<'_>, object: Field<'_>) -> Result<Vec<Fact>, SetAside> {
    let (payment, aliases) = payment_of(object)?;
    let charge = object.get("charge");
    let is_release = object.get("reason").text().as_deref() == Some(EXPIRED)
        || charge.get("captured").boolean() == Some(false);
    Ok(vec![refund_movement(context, object, payment, aliases, is_release)?])
}

fn refund_movement(
    context: &EventContext<'_>,
    refund: Field<'_>,
    payment: PaymentId,
    aliases: Vec<PaymentId>,
    is_release: bool,
) -> Result<Fact, SetAside> {
    let status = refund_status(refund.get("status"))?;
    Ok(Fact::Movement(Movement {
        movement: refund.get("id").id()?,
        payment,
        aliases,
        kind: MovementKind::Refund,
        status: if is_release { MovementStatus::Void } else { status },
        amount: money(refund, "amount")?,
        full: false,
        hold: refund.get("metadata").get(HOLD_KEY).printable(),
        lines: Vec::new(),
        occurred_at: context.occurred_at,
    }))
}

fn refund_status(status: Field<'_>) -> Result<MovementStatus, SetAside> {
    const EXPECTED: &str = "pending, requires_action, succeeded, failed or canceled";
    match &*status.required_text(EXPECTED)? {
        "pending" | "requires_action" => Ok(MovementStatus::Pending),
        "succeeded" => Ok(MovementStatus::Final),
        "failed" | "canceled" => Ok(MovementStatus::Void),
        _ => Err(status.unknown(EXPECTED)),
    }
}
