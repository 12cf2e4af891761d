//! Lots of an account whose time had come.

use super::data::{FactData, Fields, StatedBy};
use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::money::{Credits, Money};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// The lots of an account whose time had come at `as_of`: stated by the scheduled pass, so that a rebuild expires the
/// same credits at the same place in the account's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expiry {
    pub account: AccountId,
    #[serde(with = "time::serde::rfc3339")]
    pub as_of: OffsetDateTime,
}

impl FactData for Expiry {
    const NAME: &'static str = "fact.expiry";
    const STATED_BY: StatedBy = StatedBy::FleetAlone;
    const IS_DESCRIPTION: bool = false;
    const TEXTS: &'static [&'static str] = &[];
    const EXAMPLE: &'static str = r#"{ "account": "a", "as_of": "2026-11-20T10:00:00Z" }"#;
    const FIELDS: Fields = Fields { identity: &["account"], money: &["as_of"], free: &[], person: &[] };

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
        [Some(self.as_of), None, None]
    }

    fn at_stake(&self) -> (Option<Money>, Option<Credits>) {
        (None, None)
    }

    fn reason(&self) -> Option<&str> {
        None
    }

    fn check(&self, _credits_scale: u32) -> Result<(), String> {
        Ok(())
    }

    fn erase_texts(&mut self) {}
}
