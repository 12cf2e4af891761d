//! Money going back to the buyer, and coming back from there.

use crate::fields::{Field, read_rfc3339};
use crate::paddle::entities::{NAME, money};
use crate::set_aside::SetAside;
use crate::settings::Settings;
use domain::fact::{Dispute, DisputeStatus, MovedLine, Movement, MovementKind, MovementStatus};
use domain::{Fact, Money};
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use time::OffsetDateTime;

const ACTIONS: &str = "refund, credit, chargeback, chargeback_warning or a reverse of them";

/// The direction of the money is the action's, never the sign of an amount.
///
/// # Errors
/// Why it gives no facts to act on.
pub fn adjustment(_: &Settings, occurred_at: OffsetDateTime, data: Field<'_>) -> Result<Vec<Fact>, SetAside> {
    let action = data.get("action");
    let kind = match &*action.required_text(ACTIONS)? {
        "refund" => MovementKind::Refund,
        // Unlike Stripe's early warnings this one has refunded the buyer already.
        "chargeback" | "chargeback_warning" => MovementKind::Chargeback,
        "chargeback_reverse" | "chargeback_warning_reverse" => MovementKind::Back,
        // Goes to the customer's balance at Paddle, to be spent there: no money returns to the buyer.
        "credit" | "credit_reverse" => return Err(action.no_effect()),
        _ => return Err(action.unknown(ACTIONS)),
    };
    let status = movement_status(data.get("status"))?;
    let amount = moved(kind, data, data.get("totals").get("subtotal"))?;
    let payment = data.get("transaction_id").payment_id(NAME)?;
    let movement = Movement {
        movement: data.get("id").id()?,
        payment: payment.clone(),
        aliases: Vec::new(),
        kind,
        status,
        amount,
        full: data.get("type").text().as_deref() == Some("full"),
        hold: None,
        lines: lines(kind, data, amount)?,
        occurred_at,
    };
    let case = dispute_status(action.text().as_deref(), data.get("status").text().as_deref());
    let dispute = case.map(|status| Dispute {
        // Paddle names no case: a warning, the chargeback after it and its reversal meet in the transaction.
        dispute: payment.id().to_owned(),
        payment,
        aliases: Vec::new(),
        status,
        amount: Some(amount),
        reason: data.get("reason").word(),
        // Paddle answers for the seller, and takes no evidence.
        evidence_due_by: None,
        round: Some(movement.movement.clone()),
        began_at: data.get("created_at").text().as_deref().and_then(read_rfc3339),
        is_early_warning: false,
        is_refundable: None,
        network_reason: None,
        fee: fee(data.get("payout_totals")),
        by: None,
        by_silence: false,
        occurred_at,
    });
    Ok([Fact::Movement(movement)].into_iter().chain(dispute.map(Fact::Dispute)).collect())
}

/// What Paddle takes for the case, in the currency in which it pays out. It decides nothing: where it cannot be read, it is not
/// known.
fn fee(payout: Field<'_>) -> Option<Money> {
    let fee = payout.get("chargeback_fee").get("amount");
    money(payout, fee, fee.minor_units_text().ok()?).ok()
}

/// A reverse may be written with either sign: Paddle's own example of `credit_reverse` is negative throughout
/// (<https://developer.paddle.com/api-reference/adjustments/list-adjustments>). Nothing else is: a negative refund is
/// set aside for a person to look at.
fn moved(kind: MovementKind, data: Field<'_>, field: Field<'_>) -> Result<Money, SetAside> {
    let stated = field.minor_units_text()?;
    let moved = match kind {
        MovementKind::Back => stated.checked_abs().ok_or_else(|| field.malformed("minor units"))?,
        MovementKind::Refund | MovementKind::Chargeback => stated,
    };
    money(data, field, moved)
}

/// What of it belongs to which line of the transaction. An item of tax moves nothing. Lines that are more than the whole
/// are no parts of it: then the whole counts, and names none.
fn lines(kind: MovementKind, data: Field<'_>, amount: Money) -> Result<Vec<MovedLine>, SetAside> {
    let mut lines: BTreeMap<String, Decimal> = BTreeMap::new();
    for item in data.get("items").elements()? {
        let subtotal = item.get("totals").get("subtotal");
        let line = item.get("item_id");
        if item.get("type").text().as_deref() == Some("tax") || line.is_absent() || subtotal.is_absent() {
            continue;
        }
        let moved = moved(kind, data, subtotal)?;
        *lines.entry(line.id()?).or_default() += moved.amount();
    }
    if lines.values().sum::<Decimal>() > amount.amount() {
        return Ok(Vec::new());
    }
    lines
        .into_iter()
        .map(|(line, moved)| {
            let amount = Money::new(moved, amount.currency());
            amount
                .map(|amount| MovedLine { line, amount })
                .map_err(|error| SetAside::malformed(error.to_string()))
        })
        .collect()
}

fn movement_status(status: Field<'_>) -> Result<MovementStatus, SetAside> {
    const EXPECTED: &str = "pending_approval, approved, rejected or reversed";
    match &*status.required_text(EXPECTED)? {
        "pending_approval" => Ok(MovementStatus::Pending),
        // `reversed` is set on the original when its reversal is made. The reversal is a movement of its own; taking
        // this for the money's return as well would give it back twice.
        "approved" | "reversed" => Ok(MovementStatus::Final),
        "rejected" => Ok(MovementStatus::Void),
        _ => Err(status.unknown(EXPECTED)),
    }
}

/// How the case stands. A chargeback that was reversed is closed, so that news of the original cannot open it again; a
/// reversal that is not approved leaves the case as it is.
fn dispute_status(action: Option<&str>, status: Option<&str>) -> Option<DisputeStatus> {
    let is_standing = matches!(status, Some("pending_approval" | "approved"));
    let is_reversed = matches!(status, Some("approved" | "reversed"));
    match action? {
        "chargeback" if is_standing => Some(DisputeStatus::Open),
        "chargeback" if is_reversed => Some(DisputeStatus::Won),
        "chargeback_warning" if is_standing => Some(DisputeStatus::Warning),
        "chargeback" | "chargeback_warning" => Some(DisputeStatus::Prevented),
        "chargeback_reverse" if is_reversed => Some(DisputeStatus::Won),
        "chargeback_warning_reverse" if is_reversed => Some(DisputeStatus::Prevented),
        _ => None,
    }
}
