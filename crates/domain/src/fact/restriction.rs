//! An operator's word on what an account may not do.

use super::data::{FactData, Fields, StatedBy};
use super::erasure::erase;
use super::limits::by_operator;
use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::money::{Credits, Money};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use time::OffsetDateTime;

/// An operator restricts an account, or frees it of one kind of restriction whatever its causes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restriction {
    pub account: AccountId,
    pub kind: RestrictionKind,
    pub act: RestrictionAct,
    pub reason: String,
    pub by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
}

/// What a restricted account may not do, as gateways and checkouts are told. Its text is a public name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestrictionKind {
    /// Call the service.
    Access,
    /// Buy more.
    Checkout,
    /// Spend what it has.
    Balance,
}

impl RestrictionKind {
    pub const ALL: [RestrictionKind; 3] =
        [RestrictionKind::Access, RestrictionKind::Checkout, RestrictionKind::Balance];

    pub fn as_str(self) -> &'static str {
        match self {
            RestrictionKind::Access => "access",
            RestrictionKind::Checkout => "checkout",
            RestrictionKind::Balance => "balance",
        }
    }
}

impl fmt::Display for RestrictionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RestrictionKind {
    type Err = String;

    /// Fails with what was expected where the text names no kind.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("expected access, checkout or balance, got {text:?}"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestrictionAct {
    Restrict,
    /// Lifts every restriction of the kind that stands, those of cases and rules among them. A case that goes on to another
    /// stage may restrict again.
    Restore,
}

impl FactData for Restriction {
    const NAME: &'static str = "fact.restriction";
    const STATED_BY: StatedBy = StatedBy::FleetAlone;
    const IS_DESCRIPTION: bool = false;
    const TEXTS: &'static [&'static str] = &["reason"];
    const EXAMPLE: &'static str = r#"{ "account": "a", "kind": "access", "act": "restrict", "reason": "r", "by": "ada",
        "occurred_at": "2026-11-20T10:00:00Z" }"#;
    const FIELDS: Fields = Fields {
        identity: &["account", "kind", "act", "by", "occurred_at"],
        money: &[],
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
        [Some(self.occurred_at), None, None]
    }

    fn at_stake(&self) -> (Option<Money>, Option<Credits>) {
        (None, None)
    }

    fn reason(&self) -> Option<&str> {
        Some(&self.reason)
    }

    fn check(&self, _credits_scale: u32) -> Result<(), String> {
        by_operator(&self.reason, &self.by)
    }

    fn erase_texts(&mut self) {
        erase(&mut self.reason);
    }

    fn act(&self) -> String {
        match self.act {
            RestrictionAct::Restrict => format!("restrict {}", self.kind),
            RestrictionAct::Restore => format!("restore {}", self.kind),
        }
    }
}
