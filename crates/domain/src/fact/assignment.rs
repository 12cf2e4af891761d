//! An operator's word on a payment.

use super::data::{FactData, Fields, StatedBy};
use super::erasure::erase;
use super::limits::{by_operator, positive};
use super::serde_form::is_false;
use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::money::{Credits, Money};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// An operator's word on a payment: whose it is, and what it grants where no catalog knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    pub payment: PaymentId,
    pub act: AssignmentAct,
    /// None leaves it to what the payment itself says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// What the payment grants in all, instead of what catalog and rate say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credits: Option<Credits>,
    /// Restated by the catalog of the day, no longer by that of its first grant.
    #[serde(default, skip_serializing_if = "is_false")]
    pub by_todays_catalog: bool,
    pub reason: String,
    pub by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssignmentAct {
    /// Never takes a delivered payment away from its account.
    #[default]
    Deliver,
    /// Also a delivered payment goes to the named account, with everything that became of it.
    Move,
    /// What is known of it is read as it is read today, and the difference is posted.
    Restate,
}

impl FactData for Assignment {
    const NAME: &'static str = "fact.assignment";
    const STATED_BY: StatedBy = StatedBy::FleetAlone;
    const IS_DESCRIPTION: bool = false;
    const TEXTS: &'static [&'static str] = &["reason"];
    const EXAMPLE: &'static str = r#"{ "payment": "paddle:t", "act": "move", "account": "a", "credits": "1", "reason": "r", "by": "ada",
        "occurred_at": "2026-11-20T10:00:00Z" }"#;
    const FIELDS: Fields = Fields {
        identity: &["payment", "act", "account", "by"],
        money: &["credits", "occurred_at"],
        free: &["reason"],
        person: &["reason"],
    };

    fn account(&self) -> Option<&AccountId> {
        self.account.as_ref()
    }

    fn customer(&self) -> Option<&CustomerId> {
        None
    }

    fn payment_ids(&self) -> Vec<&PaymentId> {
        vec![&self.payment]
    }

    fn object_id(&self) -> &str {
        self.payment.id()
    }

    fn times(&self) -> [Option<OffsetDateTime>; 3] {
        [Some(self.occurred_at), None, None]
    }

    fn at_stake(&self) -> (Option<Money>, Option<Credits>) {
        (None, self.credits.map(Credits::abs))
    }

    fn reason(&self) -> Option<&str> {
        Some(&self.reason)
    }

    fn check(&self, credits_scale: u32) -> Result<(), String> {
        if let Some(credits) = self.credits {
            positive("data.credits", credits, credits_scale)?;
        }
        if self.act == AssignmentAct::Move && self.account.is_none() {
            return Err("data.account: expected the account that the payment moves to, got none".to_owned());
        }
        let is_restated = self.act == AssignmentAct::Restate;
        if is_restated && (self.account.is_some() || self.credits.is_some()) {
            return Err("data.act: expected restate without an account or credits".to_owned());
        }
        if self.by_todays_catalog && !is_restated {
            return Err("data.by_todays_catalog: expected of restate alone".to_owned());
        }
        by_operator(&self.reason, &self.by)
    }

    fn erase_texts(&mut self) {
        erase(&mut self.reason);
    }

    fn act(&self) -> String {
        let act = match self.act {
            AssignmentAct::Deliver => "deliver",
            AssignmentAct::Move => "move",
            AssignmentAct::Restate => "restate",
        };
        let to = self.account.as_ref().map(|account| format!(" to {account}")).unwrap_or_default();
        let credits = self.credits.map(|credits| format!(" as {credits} credits")).unwrap_or_default();
        format!("{act}{to}{credits}")
    }
}
