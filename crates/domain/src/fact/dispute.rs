//! A dispute or warning.

use super::data::{FactData, Fields, StatedBy};
use super::erasure::erase_if_any;
use super::limits::{short, short_if_any};
use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::money::{Credits, Money};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A dispute or warning as it looks now. Credits follow movements; this decides about people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dispute {
    /// The processor's id of the case; Paddle has none, there it is the transaction's.
    pub dispute: String,
    pub payment: PaymentId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<PaymentId>,
    pub status: DisputeStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub evidence_due_by: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisputeStatus {
    Warning,
    Open,
    UnderReview,
    Prevented,
    Won,
    Lost,
}

impl FactData for Dispute {
    const NAME: &'static str = "fact.dispute";
    const STATED_BY: StatedBy = StatedBy::FleetAlone;
    const IS_DESCRIPTION: bool = true;
    const TEXTS: &'static [&'static str] = &["reason"];
    const EXAMPLE: &'static str = r#"{ "dispute": "d", "payment": "paddle:t", "aliases": ["paddle:u"], "status": "open",
        "amount": {"amount": "1.00", "currency": "USD"}, "reason": "r",
        "evidence_due_by": "2026-11-20T10:00:00Z", "occurred_at": "2026-11-20T10:00:00Z" }"#;
    const FIELDS: Fields = Fields {
        identity: &["dispute", "payment", "aliases"],
        money: &["status", "amount", "occurred_at"],
        free: &["reason", "evidence_due_by"],
        person: &["reason"],
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
        &self.dispute
    }

    fn times(&self) -> [Option<OffsetDateTime>; 2] {
        [Some(self.occurred_at), self.evidence_due_by]
    }

    fn at_stake(&self) -> (Option<Money>, Option<Credits>) {
        (None, None)
    }

    fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    fn check(&self, _credits_scale: u32) -> Result<(), String> {
        short("data.dispute", &self.dispute)?;
        short_if_any("data.reason", self.reason.as_deref())
    }

    fn erase_texts(&mut self) {
        erase_if_any(&mut self.reason);
    }

    fn keys(&self) -> Vec<&str> {
        [&self.dispute].into_iter().chain(&self.reason).map(String::as_str).collect()
    }
}
