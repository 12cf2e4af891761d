//! Facts in a line each, for whoever has to read a history.

use crate::fact::{
    AdjustmentKind, AssignmentAct, Fact, HoldStatus, LineItem, MovementKind, MovementStatus, PaymentStatus,
    Purpose,
};
use crate::ids::PaymentId;
use crate::ledger::tests::START;
use time::OffsetDateTime;

pub(super) fn line(fact: &Fact) -> String {
    match fact {
        Fact::Payment(payment) => {
            let status = match payment.status {
                PaymentStatus::Paid => "paid",
                PaymentStatus::Pending => "not yet paid",
                PaymentStatus::Failed => "failed",
            };
            let items = payment.items.iter().map(item);
            let parts = [
                Some(format!(
                    "{} says {status} {}{}",
                    payment.object,
                    payment.amount,
                    items.collect::<String>()
                )),
                payment.before_tax.map(|money| format!("before tax {money}")),
                payment.before_discounts.map(|money| format!("before discounts {money}")),
                match payment.purpose {
                    Purpose::NotAsked => Some("nobody asked for what".to_owned()),
                    Purpose::Unstated => None,
                    Purpose::Credits => Some("for credits".to_owned()),
                    Purpose::Other => Some("for something else".to_owned()),
                },
                payment.account.as_ref().map(|link| {
                    format!("for {}{}", link.account, if link.by_reference { " by reference" } else { "" })
                }),
                payment.customer.as_ref().map(|customer| format!("by {:.16}", customer.as_str())),
                Some(format!(
                    "of {} {}",
                    ids(&payment.payment, &payment.aliases),
                    minute(payment.occurred_at)
                )),
            ];
            parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
        }
        Fact::Movement(movement) => {
            let kind = match (movement.kind, movement.full) {
                (MovementKind::Refund, _) => "refund",
                (MovementKind::Chargeback, _) => "chargeback",
                (MovementKind::Back, false) => "back",
                (MovementKind::Back, true) => "full back",
            };
            let status = match movement.status {
                MovementStatus::Pending => "pending",
                MovementStatus::Final => "final",
                MovementStatus::Void => "void",
            };
            let hold = movement.hold.as_ref().map(|hold| format!(" for {hold}")).unwrap_or_default();
            let of = ids(&movement.payment, &movement.aliases);
            let (id, amount, at) = (&movement.movement, movement.amount, minute(movement.occurred_at));
            let lines = movement.lines.iter().map(|part| format!(", {} of it {}", part.line, part.amount));
            format!("{kind} {id} of {of} {amount} {status}{hold}{} {at}", lines.collect::<String>())
        }
        Fact::Hold(hold) => {
            let status = match hold.status {
                HoldStatus::Placed => "placed",
                HoldStatus::Lifted => "lifted",
            };
            format!(
                "hold {} on {} {} {status} {}",
                hold.hold,
                hold.payment,
                hold.amount,
                minute(hold.occurred_at)
            )
        }
        Fact::Valuation(word) => {
            format!("{} of {} is {} {}", word.movement, word.payment, word.amount, minute(word.occurred_at))
        }
        Fact::Customer(customer) => {
            let email = customer.email.as_ref().map(|email| format!(" has {:.16}", email.as_str()));
            let account = customer.account.as_ref().map(|link| format!(" is {}", link.account));
            let (email, account) = (email.unwrap_or_default(), account.unwrap_or_default());
            format!("customer {:.16}{email}{account}", customer.customer.as_str())
        }
        Fact::Assignment(word) => {
            let act = match word.act {
                AssignmentAct::Deliver => "deliver",
                AssignmentAct::Move => "move",
                AssignmentAct::Restate => "restate",
            };
            let account = word.account.as_ref().map(|account| format!(" to {account}")).unwrap_or_default();
            let credits = word.credits.map(|credits| format!(" worth {credits}")).unwrap_or_default();
            format!("{act} {}{account}{credits} {}", word.payment, minute(word.occurred_at))
        }
        Fact::Usage(usage) => format!("{} uses {}", usage.account, usage.credits),
        Fact::Grant(grant) => {
            let until = grant.expires_at.map(|at| format!(" until day {}", (at - START).whole_days()));
            format!("grant {} {}{}", grant.account, grant.credits, until.unwrap_or_default())
        }
        Fact::Adjustment(word) => match word.kind {
            AdjustmentKind::Correction => format!("adjust {} by {}", word.account, word.credits),
            AdjustmentKind::WriteOff => format!("write off {} of {}", word.credits, word.account),
        },
        Fact::Expiry(expiry) => {
            format!("expire {} as of day {}", expiry.account, (expiry.as_of - START).whole_days())
        }
        Fact::Dispute(_) | Fact::Restriction(_) | Fact::RefundRequest(_) | Fact::Unrecognised(_) => {
            fact.kind().to_string()
        }
    }
}

fn item(item: &LineItem) -> String {
    let quantity = if item.quantity_assumed { "some".to_owned() } else { format!("{}x", item.quantity) };
    let share = item.share.map(|share| format!(" by {share}")).unwrap_or_default();
    let line = item.line.as_ref().map(|line| format!(" as {line}")).unwrap_or_default();
    let amount = item.amount.map(|amount| format!(" for {amount}")).unwrap_or_default();
    format!(" {quantity} {}{share}{line}{amount}", item.price)
}

fn ids(first: &PaymentId, aliases: &[PaymentId]) -> String {
    std::iter::once(first).chain(aliases).map(|id| id.id()).collect::<Vec<_>>().join("=")
}

fn minute(at: OffsetDateTime) -> String {
    format!("at {}", (at - START).whole_minutes())
}
