//! What a movement in another currency is in its payment's own, by an operator's word.

use super::data::{FactData, Fields, StatedBy};
use super::erasure::erase;
use super::limits::{by_operator, short};
use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::money::{Credits, Money};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// An operator's statement of what a movement in another currency is in the payment's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Valuation {
    pub payment: PaymentId,
    pub movement: String,
    pub amount: Money,
    pub reason: String,
    pub by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
}

impl FactData for Valuation {
    const NAME: &'static str = "fact.valuation";
    const STATED_BY: StatedBy = StatedBy::FleetAlone;
    const IS_DESCRIPTION: bool = false;
    const TEXTS: &'static [&'static str] = &["reason"];
    const EXAMPLE: &'static str = r#"{ "payment": "paddle:t", "movement": "m", "amount": {"amount": "1.00", "currency": "USD"},
        "reason": "r", "by": "ada", "occurred_at": "2026-11-20T10:00:00Z" }"#;
    const FIELDS: Fields = Fields {
        identity: &["payment", "movement", "by"],
        money: &["amount", "occurred_at"],
        free: &["reason"],
        person: &["reason"],
    };

    fn account(&self) -> Option<&AccountId> {
        None
    }

    fn customer(&self) -> Option<&CustomerId> {
        None
    }

    fn payment_ids(&self) -> Vec<&PaymentId> {
        vec![&self.payment]
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
        Some(&self.reason)
    }

    fn check(&self, _credits_scale: u32) -> Result<(), String> {
        short("data.movement", &self.movement)?;
        by_operator(&self.reason, &self.by)
    }

    fn erase_texts(&mut self) {
        erase(&mut self.reason);
    }

    fn act(&self) -> String {
        format!("value {} as {}", self.movement, self.amount)
    }
}
