//! Credits given for no money.

use super::data::{FactData, Fields, StatedBy};
use super::erasure::erase;
use super::limits::{positive, short, short_if_any};
use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::money::{Credits, Money};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Credits given for no money.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    pub account: AccountId,
    pub credits: Credits,
    #[serde(default)]
    pub kind: GrantKind,
    pub reason: String,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<OffsetDateTime>,
    /// Who granted it, where an operator did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantKind {
    #[default]
    Promotional,
    Goodwill,
}

impl FactData for Grant {
    const NAME: &'static str = "fact.grant";
    const STATED_BY: StatedBy = StatedBy::WhoeverHasTheRight;
    const IS_DESCRIPTION: bool = false;
    const TEXTS: &'static [&'static str] = &["reason"];
    const EXAMPLE: &'static str = r#"{ "account": "a", "credits": "1", "kind": "goodwill", "reason": "r",
        "expires_at": "2026-11-20T10:00:00Z", "by": "ada" }"#;
    const FIELDS: Fields = Fields {
        identity: &["account", "by"],
        money: &["credits", "kind", "expires_at"],
        free: &["reason"],
        person: &["reason"],
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
        [self.expires_at, None, None]
    }

    fn at_stake(&self) -> (Option<Money>, Option<Credits>) {
        (None, Some(self.credits.abs()))
    }

    fn reason(&self) -> Option<&str> {
        Some(&self.reason)
    }

    fn check(&self, credits_scale: u32) -> Result<(), String> {
        positive("data.credits", self.credits, credits_scale)?;
        short("data.reason", &self.reason)?;
        short_if_any("data.by", self.by.as_deref())
    }

    fn erase_texts(&mut self) {
        erase(&mut self.reason);
    }

    fn act(&self) -> String {
        let kind = match self.kind {
            GrantKind::Promotional => "promotional",
            GrantKind::Goodwill => "goodwill",
        };
        format!("grant {} {kind}", self.credits)
    }
}
