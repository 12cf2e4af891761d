//! Messages as Bursar sends them.

use crate::header;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use std::collections::BTreeMap;

/// A message to be published, always persistent and mandatory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// With its namespace; empty for the default exchange.
    pub exchange: String,
    pub routing_key: String,
    pub message_id: String,
    pub content_type: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Message {
    /// A message of facts or events: the body is JSON, and the trace context goes along as a header too.
    pub fn new(
        exchange: String,
        routing_key: &str,
        message_id: String,
        content_type: &str,
        traceparent: Option<&str>,
        body: String,
    ) -> Self {
        let trace = traceparent.map(|text| (header::TRACEPARENT.to_owned(), text.to_owned()));
        Self {
            exchange,
            routing_key: routing_key.to_owned(),
            message_id,
            content_type: content_type.to_owned(),
            headers: trace.into_iter().collect(),
            body: body.into_bytes(),
        }
    }

    pub(crate) fn properties(&self) -> BasicProperties {
        let mut headers = FieldTable::default();
        for (name, value) in &self.headers {
            headers.insert(ShortString::from(name.as_str()), AMQPValue::LongString(value.as_str().into()));
        }
        BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(self.message_id.as_str().into())
            .with_content_type(self.content_type.as_str().into())
            .with_headers(headers)
    }
}
