//! A request for a refund.

use super::data::{FactData, Fields, StatedBy};
use super::erasure::{erase, erase_if_any};
use super::limits::{short, short_if_any};
use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::money::{Credits, Money};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A request for a refund. What it says of a person (mail address, explanation) is not part of the fact: it stays in
/// the delivery's raw body, which has a retention.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RefundRequest {
    /// As the customer wrote it; the desk looks it up.
    pub transaction: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl FactData for RefundRequest {
    const NAME: &'static str = "fact.refund_request";
    const STATED_BY: StatedBy = StatedBy::Anyone;
    const IS_DESCRIPTION: bool = false;
    const TEXTS: &'static [&'static str] = &["transaction", "reason"];
    const EXAMPLE: &'static str = r#"{ "transaction": "t", "account": "a", "amount": {"amount": "1.00", "currency": "USD"},
        "reason": "r" }"#;
    const FIELDS: Fields = Fields {
        identity: &["transaction", "account"],
        money: &["amount"],
        free: &["reason"],
        person: &["transaction", "reason"],
    };

    fn account(&self) -> Option<&AccountId> {
        self.account.as_ref()
    }

    fn customer(&self) -> Option<&CustomerId> {
        None
    }

    fn payment_ids(&self) -> Vec<&PaymentId> {
        Vec::new()
    }

    fn object_id(&self) -> &str {
        &self.transaction
    }

    fn times(&self) -> [Option<OffsetDateTime>; 3] {
        [None, None, None]
    }

    fn at_stake(&self) -> (Option<Money>, Option<Credits>) {
        (None, None)
    }

    fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    fn check(&self, _credits_scale: u32) -> Result<(), String> {
        short("data.transaction", &self.transaction)?;
        short_if_any("data.reason", self.reason.as_deref())
    }

    fn erase_texts(&mut self) {
        erase(&mut self.transaction);
        erase_if_any(&mut self.reason);
    }
}
