//! Letters as operators see them: in lists, and one with everything that is kept of it.

mod store;

pub use store::{copies, count, given_up, letter, letters};

use super::{Amount, AuditLine};
use crate::letter::AsItCame;
use bus::Attempt;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// `bursar dlq list --json`: a letter in one line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LetterLine {
    pub letter: Uuid,
    pub state: String,
    pub worker: String,
    #[serde(rename = "type")]
    pub fact_type: Option<String>,
    pub code: String,
    pub reason: String,
    pub fingerprint: String,
    /// As causes are written: `paddle/evt_01h8...`.
    pub fact: Option<String>,
    pub account: Option<String>,
    pub payment: Option<String>,
    pub money: Option<Amount>,
    pub credits: Option<String>,
    pub attempts: i32,
    /// How often the same came.
    pub copies: i32,
    #[serde(with = "time::serde::rfc3339")]
    pub dead_at: OffsetDateTime,
    pub outcome: Option<String>,
}

/// A letter of a fact, as far as it says why nothing came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    pub letter: Uuid,
    pub worker: String,
    pub code: String,
    pub reason: String,
}

/// `bursar dlq show --json`: a letter with everything that is kept of it.
#[derive(Debug, Clone, Serialize)]
pub struct LetterView {
    #[serde(flatten)]
    pub line: LetterLine,
    /// In which it lay, without the namespace.
    pub queue: String,
    pub attempts_made: Vec<Attempt>,
    #[serde(with = "time::serde::rfc3339")]
    pub first_failed_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub recorded_at: OffsetDateTime,
    pub exchange: String,
    pub routing_key: String,
    pub message_id: String,
    pub content_type: Option<String>,
    pub user_id: Option<String>,
    pub headers: BTreeMap<String, String>,
    /// As it came; the command that shows it in JSON makes a text of it.
    #[serde(skip)]
    pub body: Vec<u8>,
    /// What of it could not be read.
    pub unreadable: Option<AsItCame>,
    pub traceparent: Option<String>,
    /// The stored delivery that it came from is there: see `bursar delivery show`.
    pub delivery_stored: bool,
    /// Which letter this one was before, and what it became.
    pub previous: Option<Uuid>,
    pub next: Vec<Uuid>,
    /// What an edit changed.
    pub diff: Option<Value>,
    /// Since when body and headers are gone for good.
    #[serde(with = "time::serde::rfc3339::option")]
    pub erased_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub closed_at: Option<OffsetDateTime>,
    pub closed_by: Option<String>,
    pub replays: Vec<Try>,
    pub audit: Vec<AuditLine>,
}

/// A replay that the letter was in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Try {
    pub replay: Uuid,
    pub state: String,
    pub outcome: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub published_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub settled_at: Option<OffsetDateTime>,
}
