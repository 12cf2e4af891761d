//! Credits that the refund desk freezes.

use super::data::{FactData, Fields, StatedBy};
use super::limits::short;
use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::money::{Credits, Money};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Credits of a payment to be frozen by the refund desk, as the hold looks now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    pub hold: String,
    pub payment: PaymentId,
    pub amount: Money,
    pub status: HoldStatus,
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldStatus {
    Placed,
    Lifted,
}

impl FactData for Hold {
    const NAME: &'static str = "fact.hold";
    const STATED_BY: StatedBy = StatedBy::FleetAlone;
    const IS_DESCRIPTION: bool = false;
    const TEXTS: &'static [&'static str] = &[];
    const EXAMPLE: &'static str = r#"{ "hold": "h", "payment": "paddle:t", "amount": {"amount": "1.00", "currency": "USD"},
        "status": "placed", "occurred_at": "2026-11-20T10:00:00Z" }"#;
    const FIELDS: Fields = Fields {
        identity: &["hold", "payment"],
        money: &["amount", "status", "occurred_at"],
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
        vec![&self.payment]
    }

    fn object_id(&self) -> &str {
        &self.hold
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
        short("data.hold", &self.hold)
    }

    fn erase_texts(&mut self) {}
}
