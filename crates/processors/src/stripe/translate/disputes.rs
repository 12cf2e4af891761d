//! Disputes: a case about people, and a movement of the disputed money under the same id. Warnings are a case alone.

use super::{Context, money, payment_of};
use crate::delivery::SetAside;
use crate::fields::{Field, read_unix_seconds};
use domain::Fact;
use domain::fact::{Dispute, DisputeStatus, Movement, MovementKind, MovementStatus};

pub fn dispute(context: &Context<'_>, object: Field<'_>) -> Result<Vec<Fact>, SetAside> {
    let (payment, aliases) = payment_of(object)?;
    let (status, movement_status) = dispute_status(context.event_type, object)?;
    let amount = money(object, "amount")?;
    let id = object.get("id").id()?.to_owned();
    let movement = Movement {
        lines: Vec::new(),
        movement: id.clone(),
        payment: payment.clone(),
        aliases: aliases.clone(),
        kind: MovementKind::Chargeback,
        status: movement_status,
        amount,
        full: false,
        hold: None,
        occurred_at: context.occurred_at,
    };
    let dispute = Dispute {
        dispute: id,
        payment,
        aliases,
        status,
        amount: Some(amount),
        reason: object.get("reason").word().map(str::to_owned),
        evidence_due_by: object.get("evidence_details").get("due_by").integer().and_then(read_unix_seconds),
        occurred_at: context.occurred_at,
    };
    Ok(vec![Fact::Movement(movement), Fact::Dispute(dispute)])
}

/// How the case stands, and where its money is.
///
/// An inquiry (`warning_*`) has moved nothing yet; the money of a formal dispute is withdrawn at once
/// (<https://docs.stripe.com/disputes/how-disputes-work>), so `needs_response` counts as gone even before
/// `funds_withdrawn` says so. Three things bring it back while the case is still open: the event that says so, the
/// balance transactions that already net to zero, and a won case. A case that is lost stays lost though some of its
/// money was reinstated: exchange rates do that to the fees. `charge_refunded` was settled by a refund, and that
/// refund is a movement of its own.
fn dispute_status(event_type: &str, object: Field<'_>) -> Result<(DisputeStatus, MovementStatus), SetAside> {
    const EXPECTED: &str = "a dispute's status";
    let status = object.get("status");
    let (case, money) = match status.required_text(EXPECTED)? {
        "warning_needs_response" | "warning_under_review" => {
            (DisputeStatus::Warning, MovementStatus::Pending)
        }
        "needs_response" => (DisputeStatus::Open, while_open(object)),
        "under_review" => (DisputeStatus::UnderReview, while_open(object)),
        "warning_closed" | "prevented" | "charge_refunded" => {
            (DisputeStatus::Prevented, MovementStatus::Void)
        }
        "won" => (DisputeStatus::Won, MovementStatus::Void),
        "lost" => (DisputeStatus::Lost, MovementStatus::Final),
        _ => return Err(status.unknown(EXPECTED)),
    };
    let money = match event_type {
        "charge.dispute.funds_withdrawn" => MovementStatus::Final,
        "charge.dispute.funds_reinstated" if case != DisputeStatus::Lost => MovementStatus::Void,
        _ => money,
    };
    Ok((case, money))
}

fn while_open(dispute: Field<'_>) -> MovementStatus {
    let transactions = dispute.get("balance_transactions").elements().into_iter().flatten();
    let amounts: Vec<i128> =
        transactions.filter_map(|transaction| transaction.get("amount").integer().map(i128::from)).collect();
    // Without the fee, which Stripe may keep: the buyer never had it.
    let is_back = !amounts.is_empty() && amounts.iter().sum::<i128>() >= 0;
    if is_back { MovementStatus::Void } else { MovementStatus::Final }
}

/// An issuer's suspicion: no money moves, and none may follow (<https://docs.stripe.com/api/radar/early_fraud_warnings>).
pub fn early_fraud_warning(context: &Context<'_>, object: Field<'_>) -> Result<Vec<Fact>, SetAside> {
    let (payment, aliases) = payment_of(object)?;
    Ok(vec![Fact::Dispute(Dispute {
        dispute: object.get("id").id()?.to_owned(),
        payment,
        aliases,
        status: DisputeStatus::Warning,
        amount: None,
        reason: object.get("fraud_type").word().map(str::to_owned),
        evidence_due_by: None,
        occurred_at: context.occurred_at,
    })])
}
