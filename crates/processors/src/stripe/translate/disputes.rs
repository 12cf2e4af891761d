//! Disputes: a case about people, and a movement of the disputed money under the same id. Warnings are a case alone.

use crate::fields::{Field, read_unix_seconds};
use crate::set_aside::SetAside;
use crate::stripe::objects::{EventContext, in_currency, money, payment_of};
use domain::fact::{Dispute, DisputeStatus, Movement, MovementKind, MovementStatus};
use domain::{Fact, Money};
use time::OffsetDateTime;

/// A dispute as it looks now, and what it moves.
///
/// # Errors
/// Why it gives no facts to act on.
pub fn dispute(context: &EventContext<'_>, object: Field<'_>) -> Result<Vec<Fact>, SetAside> {
    let (payment, aliases) = payment_of(object)?;
    let (status, movement_status) = dispute_status(context.event_type, object)?;
    let amount = money(object, "amount")?;
    let id = object.get("id").id()?;
    let movement = movement_status.map(|status| Movement {
        lines: Vec::new(),
        movement: id.clone(),
        payment: payment.clone(),
        aliases: aliases.clone(),
        kind: MovementKind::Chargeback,
        status,
        amount,
        full: false,
        hold: None,
        occurred_at: context.occurred_at,
    });
    let dispute = Dispute {
        dispute: id,
        payment,
        aliases,
        status,
        amount: Some(amount),
        reason: object.get("reason").word(),
        evidence_due_by: due_by(object),
        round: None,
        began_at: began_at(object),
        is_early_warning: false,
        is_refundable: object.get("is_charge_refundable").boolean(),
        network_reason: object.get("payment_method_details").get("card").get("network_reason_code").word(),
        fee: fee(object),
        by: None,
        by_silence: false,
        occurred_at: context.occurred_at,
    };
    Ok(movement.map(Fact::Movement).into_iter().chain([Fact::Dispute(dispute)]).collect())
}

/// How the case stands, and where its money is. Each object says both by itself, so that it does not matter which of
/// two events of one second comes last.
///
/// An inquiry (`warning_*`) has moved nothing yet; the money of a formal dispute is withdrawn at once
/// (<https://docs.stripe.com/disputes/how-disputes-work>), so `needs_response` counts as gone even before
/// `funds_withdrawn` says so. Three things bring it back while the case is still open: the event that says so, the
/// balance transactions that already net to zero, and a won case. A case that is lost stays lost though some of its
/// money was reinstated: exchange rates do that to the fees. `charge_refunded` was settled by a refund, and that
/// refund is a movement of its own.
///
/// A dispute is `prevented` before it is filed: by giving the money back (a `resolution`), or by stopping it with what
/// the processor knows (a `block`), and then nothing moved
/// (<https://docs.stripe.com/changelog/basil/2025-08-27/add-preventions-to-dispute>). The balance transactions tell which,
/// as they do for an inquiry that was closed. Where there are none, a prevented dispute says nothing of money: no movement is
/// told, for a void one would give back for good what another event says is gone.
fn dispute_status(
    event_type: &str,
    object: Field<'_>,
) -> Result<(DisputeStatus, Option<MovementStatus>), SetAside> {
    const EXPECTED: &str = "a dispute's status";
    let status = object.get("status");
    let (case, money) = match &*status.required_text(EXPECTED)? {
        "warning_needs_response" | "warning_under_review" => {
            (DisputeStatus::Warning, if_withdrawn(object, MovementStatus::Pending)?)
        }
        "needs_response" => (DisputeStatus::Open, while_open(object)),
        "under_review" => (DisputeStatus::UnderReview, while_open(object)),
        "warning_closed" | "prevented" | "charge_refunded" => {
            (DisputeStatus::Prevented, if_withdrawn(object, MovementStatus::Void)?)
        }
        "won" => (DisputeStatus::Won, MovementStatus::Void),
        "lost" => (DisputeStatus::Lost, MovementStatus::Final),
        _ => return Err(status.unknown(EXPECTED)),
    };
    let money = match event_type {
        "charge.dispute.funds_withdrawn" => MovementStatus::Final,
        "charge.dispute.funds_reinstated" if case != DisputeStatus::Lost => MovementStatus::Void,
        _ if says_nothing_of_money(object)? => return Ok((case, None)),
        _ => money,
    };
    Ok((case, Some(money)))
}

fn says_nothing_of_money(dispute: Field<'_>) -> Result<bool, SetAside> {
    let is_prevented = dispute.get("status").text().as_deref() == Some("prevented");
    Ok(is_prevented && dispute.get("balance_transactions").elements()?.next().is_none())
}

fn while_open(dispute: Field<'_>) -> MovementStatus {
    let transactions = dispute.get("balance_transactions").elements().into_iter().flatten();
    let amounts: Vec<i128> =
        transactions.filter_map(|transaction| transaction.get("amount").integer().map(i128::from)).collect();
    // Without the fee, which Stripe may keep: the buyer never had it.
    let is_back = !amounts.is_empty() && amounts.iter().sum::<i128>() >= 0;
    if is_back { MovementStatus::Void } else { MovementStatus::Final }
}

/// Gone where the balance transactions say that more went than came back.
fn if_withdrawn(dispute: Field<'_>, otherwise: MovementStatus) -> Result<MovementStatus, SetAside> {
    let mut net = 0i128;
    for transaction in dispute.get("balance_transactions").elements()? {
        net = net.saturating_add(transaction.get("amount").minor_units_number()?);
    }
    Ok(if net < 0 { MovementStatus::Final } else { otherwise })
}

/// An issuer's suspicion: no money moves, and none may follow (<https://docs.stripe.com/api/radar/early_fraud_warnings>).
///
/// # Errors
/// Why it gives no facts to act on.
pub fn early_fraud_warning(context: &EventContext<'_>, object: Field<'_>) -> Result<Vec<Fact>, SetAside> {
    let (payment, aliases) = payment_of(object)?;
    Ok(vec![Fact::Dispute(Dispute {
        dispute: object.get("id").id()?,
        payment,
        aliases,
        status: DisputeStatus::Warning,
        amount: None,
        reason: object.get("fraud_type").word(),
        evidence_due_by: None,
        round: None,
        began_at: began_at(object),
        is_early_warning: true,
        // Actionable: not disputed yet, and not refunded in full.
        is_refundable: object.get("actionable").boolean(),
        network_reason: None,
        fee: None,
        by: None,
        by_silence: false,
        occurred_at: context.occurred_at,
    })])
}

/// Until when an answer is asked for: none where none is possible (0), and none once an inquiry is answered.
fn due_by(dispute: Field<'_>) -> Option<OffsetDateTime> {
    if dispute.get("status").text().as_deref() == Some("warning_under_review") {
        return None;
    }
    let due_by = dispute.get("evidence_details").get("due_by").integer();
    due_by.filter(|seconds| *seconds > 0).and_then(read_unix_seconds)
}

/// When the object was made.
fn began_at(object: Field<'_>) -> Option<OffsetDateTime> {
    object.get("created").integer().and_then(read_unix_seconds)
}

/// What Stripe takes for the dispute by its balance transactions, in the currency in which it settles. It decides nothing: where
/// it cannot be read, it is not known.
fn fee(dispute: Field<'_>) -> Option<Money> {
    let mut fees = Vec::new();
    for transaction in dispute.get("balance_transactions").elements().ok()? {
        let fee = transaction.get("fee");
        if !fee.is_absent() {
            fees.push(in_currency(transaction, fee, fee.minor_units_number().ok()?).ok()?);
        }
    }
    let currency = fees.first()?.currency();
    let of_one_currency = fees.iter().all(|fee| fee.currency() == currency);
    let sum = fees.iter().map(|fee| fee.amount()).sum();
    if of_one_currency { Money::new(sum, currency).ok() } else { None }
}
