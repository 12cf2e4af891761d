//! What must hold of whatever bytes come in by webhook, for the fuzzers beside this file. `paddle`, `stripe` and `generic`
//! take their bytes for a body; `beside` takes them for what a real payload is spoiled with, which goes deeper.
//!
//! The published shapes are good to start from. From the root of the repository, with cargo-fuzz installed:
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run paddle fuzz/corpus/paddle crates/processors/payloads/paddle`.

pub mod beside;

use domain::Envelope;
use processors::{Mode, Refused, Settings, find};
use secrecy::SecretString;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::HashSet;
use time::OffsetDateTime;

/// A translation never panics; what it gives has ids of its own and can be read by the gate; and an event of a
/// processor's that says which it is, is never refused.
pub fn translate(processor: &str, body: &[u8]) {
    let processor = find(processor).expect("the fuzzers are named after processors");
    for mode in [Mode::Live, Mode::Test] {
        let settings = Settings {
            mode,
            link_secret: Some(SecretString::from("link-secret")),
            ..Settings::default()
        };
        match (processor.translate)(&settings, body, OffsetDateTime::UNIX_EPOCH) {
            Ok(envelopes) => check(processor.name, &envelopes, body),
            Err(_) => assert!(
                !says_which(processor.name, body),
                "refused though it says which event it is"
            ),
        }
    }
}

fn check(processor: &str, envelopes: &[Envelope], body: &[u8]) {
    let raw: Vec<_> = envelopes
        .iter()
        .filter_map(|envelope| envelope.raw.as_ref())
        .collect();
    assert!(raw.len() == 1 && envelopes[0].raw.is_some() && raw[0].body == body);
    let causes: HashSet<_> = envelopes
        .iter()
        .map(|envelope| envelope.cause.to_string())
        .collect();
    // An adapter's ids are its own to keep apart; the gate tells it where it does not.
    assert!(causes.len() == envelopes.len() || processor == "generic");
    for envelope in envelopes {
        let read = Envelope::parse(&envelope.to_json(), OffsetDateTime::UNIX_EPOCH);
        assert_eq!(read.as_ref(), Ok(envelope));
        for payment in envelope.fact.payment_ids() {
            assert_eq!(payment.processor(), processor);
        }
    }
}

/// The event's id and type can be read, and neither is given twice: no processor does that, and it is refused.
fn says_which(processor: &str, body: &[u8]) -> bool {
    let (id, event_type) = match processor {
        "paddle" => ("event_id", "event_type"),
        "stripe" => ("id", "type"),
        _ => return false,
    };
    let Ok(Members(members)) = serde_json::from_slice(body) else {
        return false;
    };
    let text = |name: &str| {
        let mut named = members.iter().filter(|member| member.0 == name);
        let first = named.next().filter(|_| named.next().is_none())?;
        first.1.as_str().filter(|text| !text.is_empty())
    };
    let is_id = |text: &str| text.len() <= 200 && !text.chars().any(char::is_control);
    text(id).is_some_and(is_id) && text(event_type).is_some()
}

/// An object's members as they stand there, repeated ones too.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

/// Each line is a header, and all of it a body: a header that was not made with the secret is refused, and what was
/// signed with it is accepted.
pub fn verify(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.split('\n').collect();
    let secret = SecretString::from("whsec_c2VjcmV0");
    let at = OffsetDateTime::from_unix_timestamp(1_795_168_800).expect("within the years of a calendar");
    for processor in processors::ALL {
        let line = |name: &str| {
            let position = processor
                .signature_headers
                .iter()
                .position(|header| *header == name)?;
            lines.get(position).map(|line| (*line).to_owned())
        };
        let refused = (processor.verify)(&line, b"{}", std::slice::from_ref(&secret), at);
        assert!(refused.is_err(), "a stranger was let in");
        assert_ne!(refused, Err(Refused::NoSecret));
        let early = (processor.check_headers)(&line, std::slice::from_ref(&secret), at);
        assert!(early.is_ok() || early == refused, "the front door would say something else");
        if let Ok(signed) = (processor.sign)(&secret, bytes, at) {
            let header = |name: &str| {
                signed
                    .iter()
                    .find(|(header, _)| *header == name)
                    .map(|(_, text)| text.clone())
            };
            assert_eq!(
                (processor.verify)(&header, bytes, std::slice::from_ref(&secret), at),
                Ok(())
            );
        }
    }
}
