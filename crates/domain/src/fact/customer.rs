//! A customer of the processor, or an address, and whose account it stands for.

use super::data::{FactData, Fields, StatedBy};
use super::erasure::erase_if_any;
use super::limits::short_if_any;
use super::link::AccountLink;
use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::money::{Credits, Money};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A customer of the processor, and the account it stands for where the platform said so. The platform may also state
/// an account for an e-mail address (`email:jane@example.com`): see [`CustomerId`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Customer {
    pub customer: CustomerId,
    /// The customer's address, as a customer id of its own; the address itself is never kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<CustomerId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountLink>,
    /// Why an operator linked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
}

impl FactData for Customer {
    const NAME: &'static str = "fact.customer";
    const STATED_BY: StatedBy = StatedBy::WhoeverHasTheRight;
    const IS_DESCRIPTION: bool = true;
    const TEXTS: &'static [&'static str] = &["reason"];
    const EXAMPLE: &'static str = r#"{ "customer": "paddle:c", "email": "email:jane@example.com",
        "account": {"account": "a", "proof": "stated"}, "reason": "r",
        "occurred_at": "2026-11-20T10:00:00Z" }"#;
    const FIELDS: Fields = Fields {
        identity: &["customer", "email", "account", "occurred_at"],
        money: &[],
        free: &["reason"],
        person: &["customer", "email", "reason"],
    };

    fn account(&self) -> Option<&AccountId> {
        self.account.as_ref().map(|link| &link.account)
    }

    fn customer(&self) -> Option<&CustomerId> {
        Some(&self.customer)
    }

    fn payment_ids(&self) -> Vec<&PaymentId> {
        Vec::new()
    }

    fn object_id(&self) -> &str {
        self.customer.id()
    }

    fn times(&self) -> [Option<OffsetDateTime>; 3] {
        [Some(self.occurred_at), None, None]
    }

    fn at_stake(&self) -> (Option<Money>, Option<Credits>) {
        (None, None)
    }

    fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    fn check(&self, _credits_scale: u32) -> Result<(), String> {
        if self.email.as_ref().is_some_and(|email| !email.is_email()) {
            return Err("data.email: expected email:<address>, got another customer id".to_owned());
        }
        short_if_any("data.reason", self.reason.as_deref())
    }

    fn erase_texts(&mut self) {
        erase_if_any(&mut self.reason);
    }

    fn act(&self) -> String {
        format!("link {}", self.customer)
    }
}
