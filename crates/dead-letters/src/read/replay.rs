//! Replays, and how far each is.

mod store;

pub use store::replays;

use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

/// `bursar dlq replays --json`: a replay and how far it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReplayLine {
    pub replay: Uuid,
    pub state: String,
    pub by: String,
    pub reason: Option<String>,
    pub filter: Value,
    pub total: i32,
    pub canary: Option<i32>,
    /// Messages a second.
    pub rate: Option<f64>,
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
    /// Not yet put back.
    pub waiting: i64,
    /// Put back, and their outcome is not known.
    pub published: i64,
    pub resolved: i64,
    pub dead_again: i64,
    /// Given back: open again without an outcome.
    pub released: i64,
    /// Why, and how many for each reason.
    pub released_why: Option<Value>,
}
