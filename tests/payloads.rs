//! Payloads of the processors, as the crate `processors` keeps them beside its code.

use domain::Envelope;
use serde_json::Value;
use std::path::Path;
use time::OffsetDateTime;

pub fn paddle_payload(name: &str) -> Value {
    payload("paddle", name)
}

pub fn payload(processor: &str, name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/processors/payloads").join(processor);
    let path = folder.join(format!("{name}.json"));
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

/// What the ingester makes of a payload.
pub fn translated(processor: &str, payload: &Value) -> Vec<Envelope> {
    let body = serde_json::to_vec(payload).unwrap();
    let processor = processors::find(processor).unwrap();
    let now = OffsetDateTime::now_utc();
    let now = now.replace_nanosecond(now.microsecond() * 1000).unwrap();
    (processor.translate)(&processors::Settings::default(), &body, now).unwrap()
}
