//! Kinds of failures, with how many letters each has and what hangs on them.

mod store;

pub use store::{count_groups, groups};

use super::Amount;
use serde::Serialize;
use time::OffsetDateTime;

/// `bursar dlq groups --json`: one kind of failures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    pub fingerprint: String,
    pub worker: String,
    #[serde(rename = "type")]
    pub fact_type: Option<String>,
    pub code: String,
    /// The reason without what differs from message to message.
    pub reason: String,
    pub count: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub first: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub last: OffsetDateTime,
    /// Distinct ones.
    pub accounts: i64,
    /// By currency.
    pub money: Vec<Amount>,
    pub credits: String,
    pub notes: i64,
}
