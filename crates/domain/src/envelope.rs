//! A fact on its way: a CloudEvent 1.0 in structured JSON mode, alone or in a batch.
//!
//! The extensions `traceparent`, `receivedat` and `rawbody` are Bursar's: `rawbody` (base64) travels only from the
//! ingester to the gate, which stores it apart and does not pass it on.

use crate::calendar;
use crate::fact::{Fact, FactKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use time::OffsetDateTime;

pub const CONTENT_TYPE: &str = "application/cloudevents+json";
pub const CONTENT_TYPE_BATCH: &str = "application/cloudevents-batch+json";

/// Whether a content type says that a body is a batch. Media types have parameters and no case (RFC 9110, section 8.3.1).
pub fn is_batch(content_type: Option<&str>) -> bool {
    let essence = content_type.and_then(|text| text.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(CONTENT_TYPE_BATCH)
}

/// The most facts one message may carry.
pub const BATCH_MAX: usize = 500;

/// Source and id may each be this long; together they are a key.
const KEY_LENGTH_MAX: usize = 200;

/// Where a fact came from: its CloudEvents source and id, unique together. Written `paddle/evt_01h8...`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cause {
    pub source: String,
    pub id: String,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.source, self.id)
    }
}

/// A webhook's body as it came, kept apart from its fact because it may name people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawDelivery {
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    pub cause: Cause,
    pub time: OffsetDateTime,
    /// When Bursar first held it; latencies count from here.
    pub received_at: Option<OffsetDateTime>,
    /// W3C trace context, passed on to whatever the fact causes.
    pub traceparent: Option<String>,
    pub raw: Option<RawDelivery>,
    pub fact: Fact,
}

/// Why bytes are not a fact. The text says what was expected and what came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEnvelope {
    #[error("expected a CloudEvent in structured JSON mode: {0}")]
    NotCloudEvent(String),
    #[error("expected one of the fact types ({known}), got {got:?}", known = known_types())]
    UnknownType { got: String },
    #[error("expected data of {kind}: {why}")]
    Data { kind: FactKind, why: String },
    #[error("expected 1 to {BATCH_MAX} facts in a batch, got {0}")]
    BatchSize(usize),
}

/// An element of a batch that is not a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadablePart {
    pub text: String,
    pub error: InvalidEnvelope,
}

fn known_types() -> String {
    FactKind::ALL.map(FactKind::as_str).join(", ")
}

#[derive(Serialize, Deserialize)]
struct WireEnvelope<'a> {
    specversion: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: Cow<'a, str>,
    source: String,
    id: String,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    time: Option<OffsetDateTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    datacontenttype: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    receivedat: Option<OffsetDateTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rawbody: Option<String>,
    #[serde(borrow)]
    data: Cow<'a, RawValue>,
}

impl Envelope {
    /// Reads one CloudEvent. `now` stands in where the event carries no time.
    ///
    /// # Errors
    /// It is no CloudEvent, of no known type, or its data are not what the type has.
    pub fn parse(text: &str, now: OffsetDateTime) -> Result<Self, InvalidEnvelope> {
        expect_object("", text)?;
        let wire: WireEnvelope<'_> =
            serde_json::from_str(text).map_err(|error| InvalidEnvelope::NotCloudEvent(error.to_string()))?;
        if wire.specversion != "1.0" {
            return Err(InvalidEnvelope::NotCloudEvent(format!(
                "specversion \"1.0\", got {:?}",
                wire.specversion
            )));
        }
        check_key("source", &wire.source)?;
        check_key("id", &wire.id)?;
        let kind = FactKind::parse(&wire.kind)
            .ok_or_else(|| InvalidEnvelope::UnknownType { got: wire.kind.chars().take(80).collect() })?;
        expect_object("data: ", wire.data.get())?;
        let fact = Fact::parse(kind, &wire.data)
            .map_err(|error| InvalidEnvelope::Data { kind, why: error.to_string() })?;
        fact.times()
            .try_for_each(|at| calendar::told(at).map(drop))
            .map_err(|why| InvalidEnvelope::Data { kind, why: why.to_string() })?;
        let raw = wire.rawbody.map(|body| BASE64.decode(body)).transpose().map_err(|error| {
            InvalidEnvelope::NotCloudEvent(format!("the extension rawbody in base64: {error}"))
        })?;
        Ok(Self {
            cause: Cause { source: wire.source, id: wire.id },
            time: told("time", wire.time)?.unwrap_or(now),
            received_at: told("receivedat", wire.receivedat)?,
            traceparent: wire.traceparent.filter(|text| is_traceparent(text)),
            raw: raw.map(|body| RawDelivery { body }),
            fact,
        })
    }

    /// Reads one CloudEvent that a platform's service states. What it calls a raw body is unchecked, so it is left
    /// out; a refund request's own text is kept as raw, because the fact leaves out what it says of a person.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_stated(text: &str, now: OffsetDateTime) -> Result<Self, InvalidEnvelope> {
        let envelope = Self::parse(text, now)?;
        let is_request = envelope.fact.kind() == FactKind::RefundRequest;
        let raw = is_request.then(|| RawDelivery { body: text.as_bytes().to_vec() });
        Ok(Self { raw, received_at: None, ..envelope })
    }

    /// Reads a CloudEvents batch, each event on its own: one that cannot be read does not spoil the others.
    ///
    /// # Errors
    /// It is no list, is empty, or has more than [`BATCH_MAX`] elements. An element that cannot be read is an error of its
    /// own.
    pub fn parse_batch(
        text: &str,
        now: OffsetDateTime,
    ) -> Result<Vec<Result<Self, UnreadablePart>>, InvalidEnvelope> {
        Self::parse_each(text, |element| Self::parse(element, now))
    }

    /// As [`Self::parse_batch`], of events that a platform's service states.
    ///
    /// # Errors
    /// As [`Self::parse_batch`].
    pub fn parse_stated_batch(
        text: &str,
        now: OffsetDateTime,
    ) -> Result<Vec<Result<Self, UnreadablePart>>, InvalidEnvelope> {
        Self::parse_each(text, |element| Self::parse_stated(element, now))
    }

    fn parse_each(
        text: &str,
        parse: impl Fn(&str) -> Result<Self, InvalidEnvelope>,
    ) -> Result<Vec<Result<Self, UnreadablePart>>, InvalidEnvelope> {
        let elements: Vec<&RawValue> =
            serde_json::from_str(text).map_err(|error| InvalidEnvelope::NotCloudEvent(error.to_string()))?;
        if elements.is_empty() || elements.len() > BATCH_MAX {
            return Err(InvalidEnvelope::BatchSize(elements.len()));
        }
        Ok(elements
            .into_iter()
            .map(|element| {
                let text = element.get();
                parse(text).map_err(|error| UnreadablePart { text: text.to_owned(), error })
            })
            .collect())
    }

    /// The CloudEvent as it is sent.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.wire()).expect("an envelope holds only strings, times and JSON")
    }

    /// A batch of at most [`BATCH_MAX`] events of one type.
    pub fn batch_to_json(envelopes: &[&Self]) -> String {
        let wires: Vec<_> = envelopes.iter().map(|envelope| envelope.wire()).collect();
        serde_json::to_string(&wires).expect("an envelope holds only strings, times and JSON")
    }

    fn wire(&self) -> WireEnvelope<'_> {
        WireEnvelope {
            specversion: "1.0".into(),
            kind: self.fact.kind().as_str().into(),
            source: self.cause.source.clone(),
            id: self.cause.id.clone(),
            time: Some(self.time),
            datacontenttype: Some("application/json".into()),
            traceparent: self.traceparent.clone(),
            receivedat: self.received_at,
            rawbody: self.raw.as_ref().map(|raw| BASE64.encode(&raw.body)),
            data: Cow::Owned(self.fact.canonical()),
        }
    }
}

/// Facts as they are sent: one alone, or a batch of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    pub kind: FactKind,
    /// The same for the same facts, so that a parcel sent twice is known as one.
    pub message_id: String,
    pub content_type: &'static str,
    /// Only where the parcel holds a single fact: in a batch each fact carries its own.
    pub traceparent: Option<String>,
    pub body: String,
}

/// Packs facts into as few parcels as there are types, at most [`BATCH_MAX`] facts in each.
pub fn parcels(envelopes: Vec<Envelope>) -> Vec<Parcel> {
    let mut by_kind: BTreeMap<FactKind, Vec<Envelope>> = BTreeMap::new();
    for envelope in envelopes {
        by_kind.entry(envelope.fact.kind()).or_default().push(envelope);
    }
    let mut parcels = Vec::new();
    for (kind, envelopes) in by_kind {
        parcels.extend(envelopes.chunks(BATCH_MAX).map(|chunk| Parcel::new(kind, chunk)));
    }
    parcels
}

impl Parcel {
    fn new(kind: FactKind, envelopes: &[Envelope]) -> Self {
        match envelopes {
            [one] => Self {
                kind,
                message_id: one.cause.id.clone(),
                content_type: CONTENT_TYPE,
                traceparent: one.traceparent.clone(),
                body: one.to_json(),
            },
            many => Self {
                kind,
                message_id: format!("{}+{}", many[0].cause.id, many.len() - 1),
                content_type: CONTENT_TYPE_BATCH,
                traceparent: None,
                body: Envelope::batch_to_json(&many.iter().collect::<Vec<_>>()),
            },
        }
    }
}

/// Fields have names: what stands in a list would be read by its position, which its sender did not mean.
fn expect_object(field: &str, text: &str) -> Result<(), InvalidEnvelope> {
    let got = match text.trim_start().bytes().next() {
        Some(b'{') => return Ok(()),
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b'n') => "null",
        Some(b't' | b'f') => "true or false",
        Some(b'-' | b'0'..=b'9') => "a number",
        Some(_) => "no JSON",
        None => "nothing",
    };
    Err(InvalidEnvelope::NotCloudEvent(format!("{field}an object, got {got}")))
}

fn told(field: &str, at: Option<OffsetDateTime>) -> Result<Option<OffsetDateTime>, InvalidEnvelope> {
    at.map(|at| calendar::told(at).map_err(|why| InvalidEnvelope::NotCloudEvent(format!("{field}: {why}"))))
        .transpose()
}

fn check_key(field: &str, text: &str) -> Result<(), InvalidEnvelope> {
    let printable = !text.chars().any(char::is_control);
    if text.is_empty() || text.len() > KEY_LENGTH_MAX || !printable {
        return Err(InvalidEnvelope::NotCloudEvent(format!(
            "{field}: 1 to {KEY_LENGTH_MAX} printable bytes, got {} bytes",
            text.len()
        )));
    }
    Ok(())
}

/// The id that an event gives itself, however little else of it can be read; for messages, so cut to what an id may be.
pub fn stated_id(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct StatedId {
        id: String,
    }
    let named: StatedId = serde_json::from_str(text).ok()?;
    Some(named.id.chars().take(KEY_LENGTH_MAX).collect())
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, W3C Trace Context level 1. Anything else is dropped, not passed on.
pub fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    matches!(parts[..], [version, trace, parent, flags]
        if hex(version, 2) && version != "ff" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2)
            && trace.bytes().any(|b| b != b'0') && parent.bytes().any(|b| b != b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-20 10:00:00 UTC);
    const USAGE: &str = r#"{ "specversion": "1.0", "type": "fact.usage", "source": "gateway/eu-1", "id": "use_1",
        "time": "2026-11-20T10:00:00Z", "datacontenttype": "application/json",
        "data": { "account": "acct_42", "credits": "12.5", "reference": "req_9f2" } }"#;

    #[test]
    fn a_fact_survives_the_way_there_and_back() {
        let mut envelope = Envelope::parse(USAGE, NOW).unwrap();
        envelope.raw = Some(RawDelivery { body: vec![0, 255, 7] });
        envelope.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
        assert_eq!(Envelope::parse(&envelope.to_json(), NOW).unwrap(), envelope);
    }

    #[test]
    fn one_bad_event_of_a_batch_does_not_spoil_the_others() {
        let bad = USAGE.replace("12.5", "many");
        let read = Envelope::parse_batch(&format!("[{USAGE},{bad},{USAGE}]"), NOW).unwrap();
        let good: Vec<bool> = read.iter().map(Result::is_ok).collect();
        assert_eq!(good, [true, false, true]);
        assert_eq!(Envelope::parse_batch("[]", NOW).unwrap_err(), InvalidEnvelope::BatchSize(0));
    }

    #[test]
    fn errors_say_what_was_expected() {
        let check = |text: &str, expect: &str| {
            let error = Envelope::parse(text, NOW).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        check("{}", "missing field `specversion`");
        check("nonsense", "expected a CloudEvent");
        check(&USAGE.replace("1.0", "0.3"), "specversion \"1.0\", got \"0.3\"");
        check(&USAGE.replace("fact.usage", "usage"), "fact.payment, fact.movement");
        check(&USAGE.replace("\"12.5\"", "12.5"), "expected data of fact.usage");
        check(&USAGE.replace("use_1", ""), "id: 1 to 200");
    }

    #[test]
    fn a_cloud_event_and_its_data_are_objects() {
        let data = USAGE.find("\"data\": ").unwrap() + "\"data\": ".len();
        let with_data = |data_is: &str| format!("{}{data_is} }}", &USAGE[..data]);
        let check = |text: &str, expect: &str| {
            let error = Envelope::parse(text, NOW).unwrap_err().to_string();
            assert!(error.ends_with(expect), "{error}");
        };
        for (text, got) in [
            (r#"["1.0", "fact.usage", "gateway/eu-1", "use_1"]"#, "an array"),
            ("\"fact\"", "a string"),
            ("12", "a number"),
            ("-1", "a number"),
            ("null", "null"),
            ("true", "true or false"),
            ("", "nothing"),
        ] {
            check(text, &format!("an object, got {got}"));
        }
        for (text, got) in [
            (r#"["acct_42", "12.5", null, null]"#, "an array"),
            ("\"acct_42\"", "a string"),
            ("12", "a number"),
            ("null", "null"),
        ] {
            check(&with_data(text), &format!("data: an object, got {got}"));
        }
        assert!(Envelope::parse(&with_data(r#"{"account": "a", "credits": "1"}"#), NOW).is_ok());
        assert!(Envelope::parse(&format!(" \n\t{USAGE}\n"), NOW).is_ok());
    }

    #[test]
    fn a_content_type_may_have_parameters_and_any_case() {
        for batch in [
            CONTENT_TYPE_BATCH,
            "application/cloudevents-batch+json; charset=utf-8",
            "Application/CloudEvents-Batch+JSON;charset=UTF-8",
            " application/cloudevents-batch+json ;x=y",
        ] {
            assert!(is_batch(Some(batch)), "{batch}");
        }
        for single in [CONTENT_TYPE, "application/cloudevents+json; charset=utf-8", "application/json", ""] {
            assert!(!is_batch(Some(single)), "{single}");
        }
        assert!(!is_batch(None));
    }

    #[test]
    fn a_time_outside_the_calendar_is_bad_input() {
        for time in ["9999-12-31T23:59:59-00:01", "0000-01-01T00:00:00+00:01", "10000-01-01T00:00:00Z"] {
            let text = USAGE.replace("2026-11-20T10:00:00Z", time);
            assert!(Envelope::parse(&text, NOW).is_err(), "{time}");
            let data = format!(r#"{{"account":"a","credits":"1","reason":"r","expires_at":"{time}"}}"#);
            let grant =
                format!(r#"{{"specversion":"1.0","type":"fact.grant","source":"s","id":"i","data":{data}}}"#);
            assert!(Envelope::parse(&grant, NOW).is_err(), "{time}");
        }
    }

    #[test]
    fn only_well_formed_trace_contexts_are_passed_on() {
        assert!(is_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        for wrong in ["", "00-0-0-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "x\r\ny"] {
            assert!(!is_traceparent(wrong), "{wrong:?}");
        }
    }
}
