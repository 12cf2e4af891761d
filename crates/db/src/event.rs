//! An event as it is stored, and as it is published.

use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

/// What an event says and the hash before it, in one hash: see the file `chain`.
pub type EventHash = [u8; 32];

/// An event as it is kept: what the CloudEvent is made of.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    pub id: Uuid,
    /// The worker that emits it: `bursar/ledger`.
    pub source: String,
    pub account: Option<String>,
    pub sequence: Option<i64>,
    pub kind: String,
    pub time: OffsetDateTime,
    pub cause: String,
    pub traceparent: Option<String>,
    pub data: Json<Box<RawValue>>,
    /// What `chained` or `alone` made it: see the file `chain`.
    pub hash: EventHash,
}

/// CloudEvents 1.0 in structured JSON mode.
#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    #[serde(rename = "type")]
    kind: &'a str,
    source: &'a str,
    id: Uuid,
    #[serde(with = "time::serde::rfc3339")]
    time: OffsetDateTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<i64>,
    cause: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    datacontenttype: &'static str,
    data: &'a RawValue,
}

impl StoredEvent {
    /// As it is published.
    pub fn to_json(&self) -> String {
        let event = CloudEvent {
            specversion: "1.0",
            kind: &self.kind,
            source: &self.source,
            id: self.id,
            time: self.time,
            subject: self.account.as_deref(),
            sequence: self.sequence,
            cause: &self.cause,
            traceparent: self.traceparent.as_deref(),
            datacontenttype: "application/json",
            data: &self.data.0,
        };
        serde_json::to_string(&event).expect("an event holds only strings, numbers and times")
    }
}
