//! API usage that has already happened.

use super::data::{FactData, Fields, StatedBy};
use super::erasure::erase_if_any;
use super::limits::{in_scale, short_if_any};
use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::money::{Credits, Money};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Credits spent by API usage that has already happened; zero where it cost nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    pub account: AccountId,
    pub credits: Credits,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl FactData for Usage {
    const NAME: &'static str = "fact.usage";
    const STATED_BY: StatedBy = StatedBy::Anyone;
    const IS_DESCRIPTION: bool = false;
    const TEXTS: &'static [&'static str] = &["description"];
    const EXAMPLE: &'static str =
        r#"{ "account": "a", "credits": "1", "reference": "r", "description": "d" }"#;
    const FIELDS: Fields = Fields {
        identity: &["account", "reference"],
        money: &["credits"],
        free: &["description"],
        person: &["description"],
    };

    fn account(&self) -> Option<&AccountId> {
        Some(&self.account)
    }

    fn customer(&self) -> Option<&CustomerId> {
        None
    }

    fn payment_ids(&self) -> Vec<&PaymentId> {
        Vec::new()
    }

    fn object_id(&self) -> &str {
        ""
    }

    fn times(&self) -> [Option<OffsetDateTime>; 3] {
        [None, None, None]
    }

    fn at_stake(&self) -> (Option<Money>, Option<Credits>) {
        (None, Some(self.credits.abs()))
    }

    fn reason(&self) -> Option<&str> {
        None
    }

    fn check(&self, credits_scale: u32) -> Result<(), String> {
        // Zero is no mistake: a call that cost nothing.
        if self.credits < Credits::ZERO {
            return Err(format!("data.credits: expected zero or more credits, got {}", self.credits));
        }
        in_scale("data.credits", self.credits, credits_scale)?;
        short_if_any("data.reference", self.reference.as_deref())?;
        short_if_any("data.description", self.description.as_deref())
    }

    fn erase_texts(&mut self) {
        erase_if_any(&mut self.description);
    }
}
