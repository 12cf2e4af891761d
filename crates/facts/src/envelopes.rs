//! Facts in messages: the one place that reads them for every worker, and writes them.

use bus::{Decoded, Incoming, Message, Namespace};
use domain::Envelope;
use domain::envelope::{self, CONTENT_TYPE, InvalidEnvelope, Parcel, UnreadablePart, is_batch};
use time::OffsetDateTime;

/// The code of a dead letter that is no fact.
pub const MALFORMED: &str = "malformed";

/// A message, or a part of one, that is no fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAFact {
    pub body: Vec<u8>,
    /// Set where it is a part of a message.
    pub content_type: Option<&'static str>,
    /// What was expected, and what came.
    pub reason: String,
}

/// How much is believed of what an event says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The fleet: all of it.
    Fleet,
    /// A platform's service: not what it calls a raw body, nor when Bursar received it.
    Platform,
}

/// The facts in a message, each read by itself: a part of a batch that is no fact does not spoil the others. `now` stands in
/// where a fact carries no time.
///
/// # Errors
/// For each part [`NotAFact`]: why it cannot be read.
pub fn read(message: &Incoming, sender: Sender, now: OffsetDateTime) -> Vec<Result<Envelope, NotAFact>> {
    let whole =
        |reason: String| vec![Err(NotAFact { body: message.body.clone(), content_type: None, reason })];
    let Ok(text) = std::str::from_utf8(&message.body) else {
        return whole("expected JSON in UTF-8, got other bytes".to_owned());
    };
    let parts = match is_batch(message.content_type.as_deref()) {
        true => sender.parse_batch(text, now),
        false => sender.parse(text, now).map(|envelope| vec![Ok(envelope)]),
    };
    match parts {
        Ok(parts) => parts.into_iter().map(|part| part.map_err(NotAFact::from)).collect(),
        Err(error) => whole(error.to_string()),
    }
}

/// The fact that a message's body, or a part of one, is by itself; `None` if it is no fact.
pub fn read_one(body: &[u8], now: OffsetDateTime) -> Option<Envelope> {
    Envelope::parse(std::str::from_utf8(body).ok()?, now).ok()
}

/// What a reader of admitted facts takes from a message.
pub fn decode(message: &Incoming, now: OffsetDateTime) -> Vec<Decoded<Envelope>> {
    let parts = read(message, Sender::Fleet, now).into_iter();
    parts.map(|part| part.map_or_else(|bad| bad.given_up(MALFORMED), Decoded::Item)).collect()
}

/// One fact as the body of a message of its own, and the content type of it.
pub fn encode(envelope: &Envelope) -> (&'static str, Vec<u8>) {
    (CONTENT_TYPE, envelope.to_json().into_bytes())
}

/// Packs facts into as few messages to an exchange as there are kinds of them, at most 500 facts in each. The exchange is
/// named without its namespace.
pub fn pack(namespace: &Namespace, exchange: &str, envelopes: Vec<Envelope>) -> Vec<Message> {
    let exchange = namespace.name(exchange);
    envelope::parcels(envelopes).into_iter().map(|parcel| message(exchange.clone(), parcel)).collect()
}

fn message(exchange: String, parcel: Parcel) -> Message {
    let Parcel { kind, message_id, content_type, traceparent, body } = parcel;
    Message::new(exchange, kind.as_str(), message_id, content_type, traceparent.as_deref(), body)
}

impl Sender {
    fn parse(self, text: &str, now: OffsetDateTime) -> Result<Envelope, InvalidEnvelope> {
        match self {
            Sender::Fleet => Envelope::parse(text, now),
            Sender::Platform => Envelope::parse_stated(text, now),
        }
    }

    fn parse_batch(
        self,
        text: &str,
        now: OffsetDateTime,
    ) -> Result<Vec<Result<Envelope, UnreadablePart>>, InvalidEnvelope> {
        match self {
            Sender::Fleet => Envelope::parse_batch(text, now),
            Sender::Platform => Envelope::parse_stated_batch(text, now),
        }
    }
}

impl NotAFact {
    /// As the consumer loop takes it: a dead letter with this code.
    pub fn given_up<T>(self, code: &'static str) -> Decoded<T> {
        Decoded::Bad { body: self.body, content_type: self.content_type, code, reason: self.reason }
    }
}

impl From<UnreadablePart> for NotAFact {
    fn from(part: UnreadablePart) -> Self {
        let reason = part.error.to_string();
        Self { body: part.text.into_bytes(), content_type: Some(CONTENT_TYPE), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::exchange;
    use domain::envelope::CONTENT_TYPE_BATCH;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-20 10:00:00 UTC);
    const USAGE: &str = r#"{"specversion":"1.0","type":"fact.usage","source":"shop","id":"1","rawbody":"AAAA","data":{"account":"a","credits":"1"}}"#;

    fn message(content_type: &str, body: &[u8]) -> Incoming {
        Incoming { content_type: Some(content_type.to_owned()), body: body.to_vec(), ..Incoming::default() }
    }

    #[test]
    fn what_is_no_fact_is_given_up_whole() {
        for (content_type, body, expect) in [
            (CONTENT_TYPE, &b"not json"[..], "expected a CloudEvent"),
            (CONTENT_TYPE, &[0xff, 0xfe], "expected JSON in UTF-8, got other bytes"),
            (CONTENT_TYPE_BATCH, b"[]", "expected 1 to 500 facts"),
            (CONTENT_TYPE_BATCH, USAGE.as_bytes(), "expected a CloudEvent"),
        ] {
            let decoded = decode(&message(content_type, body), NOW);
            let [Decoded::Bad { body: given_up, content_type, code, reason }] = &decoded[..] else {
                panic!("one dead letter of {body:?}")
            };
            assert_eq!((&given_up[..], *content_type, *code), (body, None, MALFORMED));
            assert!(reason.contains(expect), "{reason}");
        }
    }

    #[test]
    fn a_bad_part_of_a_batch_is_given_up_alone() {
        let bad = USAGE.replace(r#""1"}"#, r#""many"}"#);
        let decoded =
            decode(&message(CONTENT_TYPE_BATCH, format!("[{USAGE},{bad},{USAGE}]").as_bytes()), NOW);
        let [Decoded::Item(first), Decoded::Bad { body, content_type, .. }, Decoded::Item(last)] =
            &decoded[..]
        else {
            panic!("two facts and a dead letter between them")
        };
        assert_eq!((first, first.cause.id.as_str()), (last, "1"));
        assert_eq!((&body[..], *content_type), (bad.as_bytes(), Some(CONTENT_TYPE)));
    }

    #[test]
    fn a_platform_is_not_believed_what_the_fleet_alone_knows() {
        let raw = |sender| read(&message(CONTENT_TYPE, USAGE.as_bytes()), sender, NOW).remove(0).unwrap().raw;
        assert!(raw(Sender::Fleet).is_some());
        assert!(raw(Sender::Platform).is_none());
    }

    #[test]
    fn what_is_packed_is_read_again() {
        let fact = Envelope::parse(USAGE, NOW).unwrap();
        let facts: Vec<Envelope> = (0..501)
            .map(|n| {
                let mut fact = fact.clone();
                fact.cause.id = n.to_string();
                fact
            })
            .collect();
        let namespace = Namespace::new("shop").unwrap();
        let messages = pack(&namespace, exchange::FACTS, facts.clone());
        let addresses: Vec<(&str, &str)> = messages
            .iter()
            .map(|message| (message.exchange.as_str(), message.routing_key.as_str()))
            .collect();
        assert_eq!(addresses, [("shop.facts", "fact.usage"); 2]);
        let unpacked: Vec<Envelope> = messages
            .iter()
            .flat_map(|packed| read(&message(&packed.content_type, &packed.body), Sender::Fleet, NOW))
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(unpacked, facts);
        assert_eq!(encode(&fact), (CONTENT_TYPE, fact.to_json().into_bytes()));
    }
}
