//! The audit: what operators did, to which letters, and why.

mod store;

pub use store::audit;

use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

/// `bursar dlq audit --json`: one thing that was done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditLine {
    pub number: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub by: String,
    pub action: String,
    pub letter: Option<Uuid>,
    pub fingerprint: Option<String>,
    pub replay: Option<Uuid>,
    pub filter: Option<Value>,
    pub letters: Option<i32>,
    pub reason: Option<String>,
    pub result: Option<Value>,
}

/// Which acts to list: those that fit everything that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// A letter's, or a replay's.
    pub id: Option<Uuid>,
    pub fingerprint: Option<String>,
    pub by: Option<String>,
}
