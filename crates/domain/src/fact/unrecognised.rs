//! A genuine delivery that told nothing to act on.

use super::data::{FactData, Fields, StatedBy};
use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::money::{Credits, Money};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A delivery that was genuine and told nothing that Bursar acts on; kept so that a later version can.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unrecognised {
    pub processor: String,
    /// The processor's name of the event, cut to 200 characters.
    pub event_type: String,
    pub why: UnrecognisedWhy,
    /// What exactly was not understood. Never a value that could identify a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnrecognisedWhy {
    /// An event type that no translation exists for.
    EventType,
    /// A known event type whose state moves no money and links nobody (a draft, a failed attempt).
    NoEffect,
    /// A known event with an unknown action or status.
    Value,
    /// A known event whose fields are missing or malformed. Raises an alarm.
    Malformed,
    /// A test-mode event on a live ledger, or the other way round.
    Mode,
    /// An event about money of another account of the processor's than the platform's.
    ForeignAccount,
}

impl UnrecognisedWhy {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            UnrecognisedWhy::EventType => "event_type",
            UnrecognisedWhy::NoEffect => "no_effect",
            UnrecognisedWhy::Value => "value",
            UnrecognisedWhy::Malformed => "malformed",
            UnrecognisedWhy::Mode => "mode",
            UnrecognisedWhy::ForeignAccount => "foreign_account",
        }
    }
}

impl FactData for Unrecognised {
    const NAME: &'static str = "fact.unrecognised";
    const STATED_BY: StatedBy = StatedBy::FleetAlone;
    const IS_DESCRIPTION: bool = false;
    const TEXTS: &'static [&'static str] = &[];
    const EXAMPLE: &'static str =
        r#"{ "processor": "paddle", "event_type": "e", "why": "value", "detail": "d" }"#;
    const FIELDS: Fields = Fields {
        identity: &["processor", "event_type", "why"],
        money: &[],
        free: &["detail"],
        person: &["detail"],
    };

    fn account(&self) -> Option<&AccountId> {
        None
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
