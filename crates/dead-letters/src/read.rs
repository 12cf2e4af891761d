//! What operators see: letters, their kinds, one letter with everything known of it, replays, what was done.

mod audit;
mod group;
mod letter;
mod message;
mod open;
mod replay;

pub use audit::{AuditFilter, AuditLine, audit};
pub use group::{Group, count_groups, groups};
pub use letter::{GivenUp, LetterLine, LetterView, Try, copies, count, given_up, letter, letters};
pub use message::{StoredMessage, stored, stored_after};
pub(crate) use open::at_stake;
pub use open::{OpenLetters, gauges};
pub use replay::{ReplayLine, replays};

use domain::Money;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use time::OffsetDateTime;
use uuid::Uuid;

/// What has become of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LetterState {
    /// Nobody has done anything about it.
    Open,
    /// It is in a replay, and its outcome is not known.
    Replaying,
    /// A replay put it back, and its worker settled it.
    Resolved,
    /// A replay put it back, and it died again: as another letter.
    DeadAgain,
    /// It goes on as another letter that says something else.
    Edited,
    /// An operator decided that nothing is to be done.
    Discarded,
}

impl LetterState {
    pub const ALL: [LetterState; 6] = [
        LetterState::Open,
        LetterState::Replaying,
        LetterState::Resolved,
        LetterState::DeadAgain,
        LetterState::Edited,
        LetterState::Discarded,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            LetterState::Open => "open",
            LetterState::Replaying => "replaying",
            LetterState::Resolved => "resolved",
            LetterState::DeadAgain => "dead_again",
            LetterState::Edited => "edited",
            LetterState::Discarded => "discarded",
        }
    }
}

impl fmt::Display for LetterState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for LetterState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.map(LetterState::as_str).join(", ");
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("expected one of {known}, got {text:?}"))
    }
}

/// Which letters are meant: those that fit everything that is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub letters: Vec<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub fact_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The fact's id, or the message's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Dead at or after this.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub since: Option<OffsetDateTime>,
    /// Dead before this.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub until: Option<OffsetDateTime>,
    /// Somewhere in the reason or the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    pub states: Vec<LetterState>,
}

impl Default for Filter {
    /// Every open letter.
    fn default() -> Self {
        Self {
            letters: Vec::new(),
            worker: None,
            fact_type: None,
            code: None,
            fingerprint: None,
            account: None,
            event: None,
            since: None,
            until: None,
            text: None,
            states: vec![LetterState::Open],
        }
    }
}

impl Filter {
    pub fn letter(letter: Uuid) -> Self {
        Self { letters: vec![letter], ..Self::default() }
    }

    /// As the audit keeps it for good: without the text that was looked for, which may name a person.
    pub fn audited(&self) -> Self {
        let text = self.text.as_ref().map(|text| format!("({} bytes)", text.len()));
        Self { text, ..self.clone() }
    }

    /// Whether it says which letters, beyond what has become of them.
    pub fn is_narrow(&self) -> bool {
        *self != Self { states: self.states.clone(), ..Self::default() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// With the currency's own number of places.
    pub amount: String,
    pub currency: String,
}

impl Amount {
    pub(crate) fn new(amount: Decimal, code: &str) -> Self {
        let money = domain::money::currency(code).ok().and_then(|currency| Money::new(amount, currency).ok());
        let amount = money.map_or_else(|| amount.normalize().to_string(), |money| money.display_amount());
        Self { amount, currency: code.to_owned() }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency)
    }
}

/// A decimal without the zeros at its end.
fn plain(decimal: Decimal) -> String {
    decimal.normalize().to_string()
}
