//! API usage that has already happened.

use super::data::{FactData, Fields, StatedBy};
use super::erasure::erase_if_any;
use super::limits::{in_scale, short_if_any};
use super::origin::digest_if_any;
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
    /// The digest of the address that the call came from: `hmac-sha256:<64 hexadecimal digits>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The digest of the device's id or fingerprint, spelled alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

impl FactData for Usage {
    const NAME: &'static str = "fact.usage";
    const STATED_BY: StatedBy = StatedBy::Anyone;
    const IS_DESCRIPTION: bool = false;
    const TEXTS: &'static [&'static str] = &["description", "ip", "device"];
    const EXAMPLE: &'static str = r#"{ "account": "a", "credits": "1", "reference": "r", "description": "d",
        "ip": "hmac-sha256:6a01d2b8a2f7ba19b9ab1a0c6bd2bbfc7d0f6e3e2f6ac4d9a21d0e0f6b8f9c10",
        "device": "hmac-sha256:b81d4c2e7f3a90655a4b3c2d1e0f19283746556473829100a1b2c3d4e5f60718" }"#;
    const FIELDS: Fields = Fields {
        identity: &["account", "reference"],
        money: &["credits"],
        free: &["description", "ip", "device"],
        person: &["description", "ip", "device"],
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
        short_if_any("data.description", self.description.as_deref())?;
        digest_if_any("data.ip", self.ip.as_deref())?;
        digest_if_any("data.device", self.device.as_deref())
    }

    fn erase_texts(&mut self) {
        [&mut self.description, &mut self.ip, &mut self.device].into_iter().for_each(erase_if_any);
    }

    fn origin(&self) -> [Option<&str>; 2] {
        [self.ip.as_deref(), self.device.as_deref()]
    }

    fn set_origin(&mut self, origin: [Option<String>; 2]) {
        [self.ip, self.device] = origin;
    }
}
