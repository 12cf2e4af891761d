//! Messages as letters keep them: what a replay puts back and an export writes out.

mod store;

pub use store::{stored, stored_after};

use super::LetterState;
use crate::letter::AsItCame;
use bus::{Attempt, Incoming};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

/// A letter as it is put back into its queue, or planned as if it were.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    pub letter: Uuid,
    pub state: LetterState,
    /// Without the namespace.
    pub queue: String,
    pub worker: String,
    pub code: String,
    pub reason: String,
    pub fact: Option<String>,
    pub fingerprint: String,
    pub account: Option<String>,
    pub payment: Option<String>,
    pub traceparent: Option<String>,
    pub attempts: Vec<Attempt>,
    pub first_failed_at: OffsetDateTime,
    pub dead_at: OffsetDateTime,
    /// Which letter this one was before, and what an edit changed of it.
    pub previous: Option<Uuid>,
    pub diff: Option<Value>,
    pub message: Incoming,
    /// What of the message could not be read.
    pub unreadable: Option<AsItCame>,
}
