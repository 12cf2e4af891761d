//! An operator's correction of an account's credits.

use super::data::{FactData, Fields, StatedBy};
use super::erasure::erase;
use super::limits::{by_operator, in_scale, positive};
use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::money::{Credits, Money};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// An operator's correction of an account's credits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adjustment {
    pub account: AccountId,
    /// Not zero. More than zero is given, less is taken as if it had been used; a write-off is more than zero.
    pub credits: Credits,
    #[serde(default)]
    pub kind: AdjustmentKind,
    pub reason: String,
    pub by: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdjustmentKind {
    #[default]
    Correction,
    /// Debt is forgiven, as far as there is any.
    WriteOff,
}

impl FactData for Adjustment {
    const NAME: &'static str = "fact.adjustment";
    const STATED_BY: StatedBy = StatedBy::FleetAlone;
    const IS_DESCRIPTION: bool = false;
    const TEXTS: &'static [&'static str] = &["reason"];
    const EXAMPLE: &'static str =
        r#"{ "account": "a", "credits": "1", "kind": "correction", "reason": "r", "by": "ada" }"#;
    const FIELDS: Fields = Fields {
        identity: &["account", "by"],
        money: &["credits", "kind"],
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
        [None, None, None]
    }

    fn at_stake(&self) -> (Option<Money>, Option<Credits>) {
        (None, Some(self.credits.abs()))
    }

    fn reason(&self) -> Option<&str> {
        Some(&self.reason)
    }

    fn check(&self, credits_scale: u32) -> Result<(), String> {
        match self.kind {
            AdjustmentKind::Correction if self.credits.is_zero() => {
                return Err("data.credits: expected more or less than zero credits, got 0".to_owned());
            }
            AdjustmentKind::Correction => in_scale("data.credits", self.credits, credits_scale)?,
            AdjustmentKind::WriteOff => positive("data.credits", self.credits, credits_scale)?,
        }
        by_operator(&self.reason, &self.by)
    }

    fn erase_texts(&mut self) {
        erase(&mut self.reason);
    }

    fn act(&self) -> String {
        match self.kind {
            AdjustmentKind::Correction if self.credits.is_positive() => format!("give {}", self.credits),
            AdjustmentKind::Correction => format!("take {}", self.credits.abs()),
            AdjustmentKind::WriteOff => format!("write off {} of debt", self.credits),
        }
    }
}
