//! Money that goes back to the buyer, or comes back from there.

use super::data::{FactData, Fields, StatedBy};
use super::limits::short;
use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::money::{Credits, Money};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Money going back to the buyer, or coming back from there, on a payment, as it looks now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Movement {
    /// The processor's own id: `adj_...`, `re_...`, `dp_...`.
    pub movement: String,
    pub payment: PaymentId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<PaymentId>,
    pub kind: MovementKind,
    pub status: MovementStatus,
    pub amount: Money,
    /// The processor calls it full: a `back` that is full cancels a chargeback whatever the amounts.
    #[serde(default)]
    pub full: bool,
    /// The hold that this movement carries out, and so replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// The parts of the amount that belong to lines of the payment; what is left of it names none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<MovedLine>,
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
}

/// The part of a movement that names a line of its payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedLine {
    /// As in [`LineItem::line`](super::LineItem::line).
    pub line: String,
    pub amount: Money,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MovementKind {
    Refund,
    Chargeback,
    /// A chargeback's money coming back, with an id of its own (Paddle's `chargeback_reverse`).
    Back,
}

/// Ordered by rank: pending < final < void, since a refund can fail after it had succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MovementStatus {
    Pending,
    Final,
    Void,
}

impl FactData for Movement {
    const NAME: &'static str = "fact.movement";
    const STATED_BY: StatedBy = StatedBy::FleetAlone;
    const IS_DESCRIPTION: bool = true;
    const TEXTS: &'static [&'static str] = &[];
    const EXAMPLE: &'static str = r#"{ "movement": "m", "payment": "paddle:t", "aliases": ["paddle:u"], "kind": "refund",
        "status": "final", "amount": {"amount": "1.00", "currency": "USD"}, "full": true, "hold": "h",
        "occurred_at": "2026-11-20T10:00:00Z" }"#;
    const FIELDS: Fields = Fields {
        identity: &["movement", "payment", "aliases", "hold"],
        money: &["kind", "status", "amount", "full", "occurred_at"],
        free: &[],
        person: &[],
    };

    fn account(&self) -> Option<&AccountId> {
        None
    }

    fn customer(&self) -> Option<&CustomerId> {
        None
    }

    fn payment_ids(&self) -> Vec<&PaymentId> {
        std::iter::once(&self.payment).chain(&self.aliases).collect()
    }

    fn object_id(&self) -> &str {
        &self.movement
    }

    fn times(&self) -> [Option<OffsetDateTime>; 3] {
        [Some(self.occurred_at), None, None]
    }

    fn at_stake(&self) -> (Option<Money>, Option<Credits>) {
        (Some(self.amount), None)
    }

    fn reason(&self) -> Option<&str> {
        None
    }

    fn check(&self, _credits_scale: u32) -> Result<(), String> {
        short("data.movement", &self.movement)
    }

    fn erase_texts(&mut self) {}

    fn keys(&self) -> Vec<&str> {
        let lines = self.lines.iter().map(|moved| &moved.line);
        [&self.movement].into_iter().chain(&self.hold).chain(lines).map(String::as_str).collect()
    }
}
