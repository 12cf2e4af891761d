//! A message that the fleet puts back into a worker's queue: after a rest on the retry ladder, or as a replay.
//!
//! It goes by the default exchange straight into the queue it lay in, so that no other reader of its exchange sees it
//! again, and carries how it first came in headers of its own. A dead letter carries the same and why it died. These
//! headers are believed where only the fleet may write, as the broker's permissions say: on the default exchange
//! (`amq.default`) and on that of dead letters.

use crate::fate::code;
use crate::message::{Incoming, Message, header};
use crate::topology::{Namespace, exchange};
use crate::unreadable::Unreadable;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};
use uuid::Uuid;

/// Headers travel in one frame of 128 KiB, and the broker ends the connection over a larger one. So much of it is theirs, as
/// they are written there; the rest is left to the other properties and to what the broker adds on a rung. Those of the
/// fleet itself take less than 64 KiB: a reason, and some attempts.
const HEADERS_MAX: usize = 112 * 1024;

/// What a header takes in a frame besides its name and its text: the length of the one, a type, the length of the other.
const HEADER_FRAMING: usize = 1 + 1 + 4;

/// Of why an attempt failed this much is kept.
const WHY_MAX: usize = 1024;

/// One attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub why: String,
}

impl Attempt {
    pub fn new(at: OffsetDateTime, why: &str) -> Self {
        // In JSON each of these would take six bytes.
        let why = why.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}");
        Self { at, why: shortened(why, WHY_MAX) }
    }
}

/// Which replay put a message back, and which dead letter it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    pub replay: Uuid,
    pub letter: Uuid,
}

/// What the fleet says of a message that it put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// When it first failed: what its worker takes for now when it reads it again.
    pub first_failed_at: OffsetDateTime,
    pub attempts: Vec<Attempt>,
    pub replayed: Option<Replayed>,
}

/// Why a message is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    pub worker: String,
    /// In which it lay, without the namespace.
    pub queue: String,
    /// Machine-readable.
    pub code: String,
    pub reason: String,
    pub at: Option<OffsetDateTime>,
}

impl Death {
    fn stamps(&self) -> Vec<(String, String)> {
        let told = [
            (header::DEAD_WORKER, Some(self.worker.clone())),
            (header::DEAD_QUEUE, Some(self.queue.clone())),
            (header::DEAD_CODE, Some(self.code.clone())),
            (header::DEAD_REASON, Some(self.reason.clone())),
            (header::DEAD_AT, self.at.map(time_text)),
        ];
        told.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

impl Incoming {
    /// Restores a message that the fleet put back or gave up on to what it first was. From everybody else's the headers
    /// that only the fleet may set are taken away.
    pub fn restored(mut self, namespace: &Namespace) -> Self {
        let is_dead = self.exchange == namespace.name(exchange::DEAD);
        let by_broker = if is_dead { self.death_by_broker(namespace) } else { None };
        let mut own = self.take_own_headers();
        let is_by_broker = by_broker.is_some();
        if is_by_broker {
            self.death = by_broker;
            let mut came_by = |name: &str| self.headers.remove(name);
            let (exchange, routing_key) =
                (came_by(header::DEATH_EXCHANGE), came_by(header::DEATH_ROUTING_KEY));
            self.exchange = exchange.unwrap_or_else(|| self.exchange.clone());
            self.routing_key = routing_key.unwrap_or_else(|| self.routing_key.clone());
        }
        // By the default exchange only the fleet puts messages into queues, also into that in which the broker gave up.
        let is_by_fleet = self.exchange.is_empty() || is_dead && !is_by_broker;
        let first_failed_at = own.get(header::FIRST_FAILED_AT).and_then(|text| parse_time(text));
        if let Some(first_failed_at) = first_failed_at.filter(|_| is_by_fleet) {
            self.exchange = own.remove(header::EXCHANGE).unwrap_or_default();
            self.routing_key = own.remove(header::ROUTING_KEY).unwrap_or_default();
            self.user_id = own.remove(header::USER);
            self.death = self.death.or_else(|| death(&mut own));
            let length = own.get(header::UNREADABLE).and_then(|text| text.parse().ok());
            let carried = length.and_then(|length| Unreadable::take_off(&mut self.body, length));
            self.unreadable = self.unreadable.or(carried);
            self.returned = Some(Returned {
                first_failed_at,
                attempts: own.get(header::ATTEMPTS).map(|text| parse_attempts(text)).unwrap_or_default(),
                replayed: replayed(&own),
            });
        }
        self
    }

    fn take_own_headers(&mut self) -> BTreeMap<String, String> {
        let mut own = BTreeMap::new();
        self.headers.retain(|name, value| {
            let is_own = name.starts_with(header::OWN);
            if is_own {
                own.insert(name.clone(), std::mem::take(value));
            }
            !is_own
        });
        own
    }

    /// What the broker says of a message that it gave up on itself; a letter of the fleet carries no such headers.
    fn death_by_broker(&self, namespace: &Namespace) -> Option<Death> {
        // The first may be a rung, on which it rested.
        let told = |latest: &str, first: &str| self.headers.get(latest).or_else(|| self.headers.get(first));
        let queue = told(header::DEATH_QUEUE, "x-first-death-queue")?;
        let prefix = namespace.name("");
        let why = told(header::DEATH_REASON, "x-first-death-reason").map_or("unknown", String::as_str);
        Some(Death {
            worker: self.routing_key.clone(),
            queue: queue.strip_prefix(&prefix).unwrap_or(queue).to_owned(),
            code: format!("{}{why}", code::BROKER),
            reason: format!("RabbitMQ gave up on it in {queue}: {why}"),
            at: None,
        })
    }

    /// How it came, and its own headers as far as they fit: what goes along when it is put back or given up on.
    fn passport(
        &self,
        attempts: &[Attempt],
        death: Option<&Death>,
        now: OffsetDateTime,
    ) -> BTreeMap<String, String> {
        let mut headers = self.stamps(attempts, now);
        headers.extend(death.into_iter().flat_map(Death::stamps));
        let size = |name: &str, value: &str| HEADER_FRAMING + name.len() + value.len();
        let taken: usize = headers.iter().map(|(name, value)| size(name, value)).sum();
        let mut room = HEADERS_MAX.saturating_sub(taken);
        let mut dropped = 0;
        for (name, value) in &self.headers {
            // The broker's own would make a message that goes around look like a cycle to it.
            if name.starts_with("x-") || name.starts_with(header::OWN) {
                continue;
            }
            let size = size(name, value);
            if size > room {
                dropped += 1;
                continue;
            }
            room -= size;
            headers.insert(name.clone(), value.clone());
        }
        if dropped > 0 {
            let message_id = self.message_id.as_deref();
            tracing::warn!(
                message_id,
                dropped,
                "headers of a message that failed do not fit and are dropped"
            );
        }
        headers
    }

    /// How it came, and what was tried since.
    fn stamps(&self, attempts: &[Attempt], now: OffsetDateTime) -> BTreeMap<String, String> {
        let first_failed_at = self.returned.as_ref().map_or(now, |returned| returned.first_failed_at);
        let mut stamps = BTreeMap::new();
        let mut set = |name: &str, value: String| stamps.insert(name.to_owned(), value);
        set(header::EXCHANGE, self.exchange.clone());
        set(header::ROUTING_KEY, self.routing_key.clone());
        set(header::FIRST_FAILED_AT, time_text(first_failed_at));
        set(header::ATTEMPTS, serde_json::to_string(attempts).expect("attempts hold times and texts"));
        if let Some(user) = &self.user_id {
            set(header::USER, user.clone());
        }
        if let Some(Replayed { replay, letter }) = self.replayed() {
            set(header::REPLAY, replay.to_string());
            set(header::LETTER, letter.to_string());
        }
        stamps
    }

    /// The message as it goes on in the fleet's own hands; with why it died, where it has.
    pub(crate) fn on_its_way(
        &self,
        to: Address,
        part: Part,
        attempts: &[Attempt],
        death: Option<&Death>,
        now: OffsetDateTime,
    ) -> Message {
        let message_id = self.message_id.clone().unwrap_or_else(|| stand_in_id(&part.body));
        let (mut headers, mut body) = (self.passport(attempts, death, now), part.body);
        if let Some(unreadable) = &self.unreadable {
            headers.insert(header::UNREADABLE.to_owned(), unreadable.put_on(&mut body).to_string());
        }
        Message {
            exchange: to.exchange,
            routing_key: to.routing_key,
            message_id,
            content_type: part
                .content_type
                .map(str::to_owned)
                .or_else(|| self.content_type.clone())
                .unwrap_or_else(|| "application/octet-stream".to_owned()),
            headers,
            body,
        }
    }

    /// A dead letter's message as a replay puts it back into the queue it lay in (its name without the namespace): the
    /// same identity, and its attempts counted from none again. What of it cannot be read stays behind.
    pub fn replay(&self, namespace: &Namespace, queue: &str) -> Message {
        let to = Address { exchange: String::new(), routing_key: namespace.name(queue) };
        let part = Part { content_type: None, body: self.body.clone() };
        if self.unreadable.is_some() {
            let readable = Self { unreadable: None, ..self.clone() };
            return readable.on_its_way(to, part, &[], None, OffsetDateTime::now_utc());
        }
        self.on_its_way(to, part, &[], None, OffsetDateTime::now_utc())
    }

    /// A dead letter's message as it may lie in a file and go back to the queue of dead letters: what the broker told in
    /// headers of its own (which no message that is published may carry) it tells as a letter of the fleet does. Nothing
    /// where it is none.
    pub fn laid_aside(&self, namespace: &Namespace, now: OffsetDateTime) -> Option<Message> {
        let mut restored = self.clone().restored(namespace);
        let mut death = restored.death.take()?;
        death.at = death.at.or(Some(now));
        let to = Address { exchange: namespace.name(exchange::DEAD), routing_key: death.worker.clone() };
        let part = Part { content_type: None, body: std::mem::take(&mut restored.body) };
        Some(restored.on_its_way(to, part, restored.attempts(), Some(&death), now))
    }

    /// What was given up outside the consumer loop, as the loop would hand it to the dead letters. The same at each call.
    pub fn given_up(&self, namespace: &Namespace, death: &Death) -> Message {
        let to = Address { exchange: namespace.name(exchange::DEAD), routing_key: death.worker.clone() };
        let part = Part { content_type: None, body: self.body.clone() };
        let at = death.at.unwrap_or_else(OffsetDateTime::now_utc);
        self.on_its_way(to, part, self.attempts(), Some(death), at)
    }

    pub(crate) fn attempts(&self) -> &[Attempt] {
        self.returned.as_ref().map_or(&[], |returned| &returned.attempts)
    }

    pub(crate) fn replayed(&self) -> Option<Replayed> {
        self.returned.as_ref().and_then(|returned| returned.replayed)
    }
}

/// Where a message goes.
pub(crate) struct Address {
    /// With the namespace; empty for the default exchange.
    pub exchange: String,
    pub routing_key: String,
}

/// One item of a message, or all of it.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Nothing where it is the whole message, whose own then holds.
    pub content_type: Option<&'static str>,
    pub body: Vec<u8>,
}

/// For a message without an id: the same for the same body, so that one which fails twice is known as one.
fn stand_in_id(body: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    format!("body-{:016x}", hasher.finish())
}

fn death(own: &mut BTreeMap<String, String>) -> Option<Death> {
    let mut text = |name| own.remove(name);
    Some(Death {
        worker: text(header::DEAD_WORKER)?,
        queue: text(header::DEAD_QUEUE)?,
        code: text(header::DEAD_CODE)?,
        reason: text(header::DEAD_REASON)?,
        at: text(header::DEAD_AT).and_then(|text| parse_time(&text)),
    })
}

fn replayed(own: &BTreeMap<String, String>) -> Option<Replayed> {
    let id = |name| own.get(name)?.parse().ok();
    Some(Replayed { replay: id(header::REPLAY)?, letter: id(header::LETTER)? })
}

/// What cannot be read counts as never tried: it is tried once more.
pub(crate) fn parse_attempts(text: &str) -> Vec<Attempt> {
    let attempts: Vec<Attempt> = serde_json::from_str(text).unwrap_or_default();
    if attempts.iter().all(|attempt| can_be_stored(&attempt.at)) { attempts } else { Vec::new() }
}

pub(crate) fn parse_time(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().filter(can_be_stored)
}

/// In UTC, as Postgres stores it and people read it, a moment may have no place in the calendar that it has with its offset.
fn can_be_stored(at: &OffsetDateTime) -> bool {
    at.checked_to_offset(UtcOffset::UTC).is_some_and(|at| (0..=9999).contains(&at.year()))
}

pub(crate) fn time_text(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).expect("a time of this millennium")
}

pub(crate) fn shortened(mut text: String, length_max: usize) -> String {
    if text.len() > length_max {
        text.truncate(text.floor_char_boundary(length_max));
        text.push_str(" (shortened)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-20 10:00:00 UTC);

    fn incoming() -> Incoming {
        let headers = [("traceparent", "00-x"), ("x-death", "1"), ("bursar-replay", "forged")];
        Incoming {
            exchange: "shop.inbound".to_owned(),
            routing_key: "fact.usage".to_owned(),
            message_id: Some("m-1".to_owned()),
            content_type: Some("text/plain".to_owned()),
            user_id: Some("gateway".to_owned()),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            returned: None,
            death: None,
            returns: 0,
            unreadable: None,
            body: b"body".to_vec(),
        }
    }

    /// As the broker delivers it out of the queue it was put into.
    fn delivered(message: Message) -> Incoming {
        Incoming {
            exchange: message.exchange,
            routing_key: message.routing_key,
            message_id: Some(message.message_id),
            content_type: Some(message.content_type),
            user_id: None,
            headers: message.headers,
            returned: None,
            death: None,
            returns: 0,
            unreadable: None,
            body: message.body,
        }
    }

    fn namespace() -> Namespace {
        Namespace::new("shop").unwrap()
    }

    #[test]
    fn a_time_outside_the_calendar_counts_as_none() {
        for wrong in ["9999-12-31T23:59:59-10:00", "0000-01-01T00:00:00+00:01", "10000-01-01T00:00:00Z"] {
            assert_eq!(parse_time(wrong), None, "{wrong}");
            assert_eq!(parse_attempts(&format!(r#"[{{"at":"{wrong}","why":"w"}}]"#)), [], "{wrong}");
        }
        assert!(parse_time("9999-12-31T23:59:59Z").is_some());
    }

    #[test]
    fn a_message_that_comes_back_is_what_it_first_was() {
        let first = incoming().restored(&namespace());
        let failed = [Attempt { at: NOW, why: "no luck".to_owned() }];
        let part = Part { content_type: None, body: first.body.clone() };
        let to = Address { exchange: String::new(), routing_key: "shop.gate".to_owned() };
        let again = delivered(first.on_its_way(to, part, &failed, None, NOW)).restored(&namespace());
        let returned = again.returned.clone().unwrap();
        assert_eq!(returned, Returned { first_failed_at: NOW, attempts: failed.to_vec(), replayed: None });
        assert_eq!(
            Incoming { returned: None, ..again.clone() },
            Incoming { headers: again.headers.clone(), ..first }
        );
        let names: Vec<_> = again.headers.keys().collect();
        assert_eq!(names, ["traceparent"], "neither the broker's nor the fleet's");

        let replayed = Replayed { replay: Uuid::now_v7(), letter: Uuid::now_v7() };
        let letter = Incoming { returned: Some(Returned { replayed: Some(replayed), ..returned }), ..again };
        let replay = delivered(letter.replay(&namespace(), "gate")).restored(&namespace()).returned.unwrap();
        assert_eq!(replay, Returned { first_failed_at: NOW, attempts: vec![], replayed: Some(replayed) });
    }

    /// A publisher may fill a frame with small headers. What goes on has more to say than that.
    #[test]
    fn what_goes_on_fits_a_frame_however_many_headers_it_had() {
        let mut message = incoming();
        message.headers = (0..14_540).map(|number| (format!("{number:x}"), String::new())).collect();
        let why = "\"".repeat(40_000);
        let attempts: Vec<Attempt> = (0..11).map(|_| Attempt::new(NOW, &why)).collect();
        let death = Death {
            worker: "gate".to_owned(),
            queue: "gate".to_owned(),
            code: "unknown".to_owned(),
            reason: shortened(why, 32 * 1024),
            at: Some(NOW),
        };
        let part = Part { content_type: None, body: message.body.clone() };
        let to = Address { exchange: "shop.dead".to_owned(), routing_key: "gate".to_owned() };
        let letter = message.on_its_way(to, part, &attempts, Some(&death), NOW);
        let size: usize = letter.headers.iter().map(|(name, value)| 6 + name.len() + value.len()).sum();
        assert!((100 * 1024..=HEADERS_MAX).contains(&size), "{size}");
        let back = delivered(letter).restored(&namespace());
        assert_eq!(back.attempts(), attempts);
        assert_eq!(back.death, Some(death));
    }

    #[test]
    fn nobody_else_can_say_that_a_message_was_put_back() {
        let by = |exchange: &str| {
            let mut message = incoming();
            message.exchange = exchange.to_owned();
            message.headers.insert(header::FIRST_FAILED_AT.to_owned(), time_text(NOW));
            message.headers.insert(header::USER.to_owned(), "root".to_owned());
            message
        };
        let user = |message: Incoming| message.restored(&namespace()).user_id;
        assert_eq!(user(by("")).as_deref(), Some("root"));
        assert_eq!(user(by("shop.dead")).as_deref(), Some("root"));
        for exchange in ["shop.inbound", "other.dead"] {
            let read = by(exchange).restored(&namespace());
            assert_eq!((read.returned, read.user_id.as_deref()), (None, Some("gateway")), "{exchange}");
            assert!(read.headers.keys().all(|name| !name.starts_with(header::OWN)));
        }
    }

    #[test]
    fn what_the_broker_gave_up_on_says_where_it_lay() {
        let mut message = incoming();
        message.exchange = "shop.dead".to_owned();
        message.routing_key = "gate".to_owned();
        let death = [
            ("x-first-death-queue", "shop.gate.inbound"),
            ("x-first-death-reason", "maxlen"),
            ("bursar-worker", "forged"),
        ];
        message.headers.extend(death.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let death = message.restored(&namespace()).death.unwrap();
        assert_eq!((&*death.worker, &*death.queue, &*death.code), ("gate", "gate.inbound", "broker_maxlen"));
    }

    #[test]
    fn what_was_laid_aside_comes_back_with_where_it_lay_and_how_it_came() {
        let mut message = incoming();
        message.exchange = "shop.dead".to_owned();
        message.routing_key = "gate".to_owned();
        let death = [
            (header::DEATH_QUEUE, "shop.gate.inbound"),
            (header::DEATH_REASON, "rejected"),
            (header::DEATH_EXCHANGE, "shop.inbound"),
            (header::DEATH_ROUTING_KEY, "fact.usage"),
        ];
        message.headers.extend(death.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let restored = message.clone().restored(&namespace());
        let aside = message.laid_aside(&namespace(), NOW).unwrap();
        assert!(aside.headers.keys().all(|name| !name.starts_with("x-")), "{aside:?}");
        let back = delivered(aside).restored(&namespace());
        assert_eq!(back.death, restored.death.map(|death| Death { at: Some(NOW), ..death }));
        let came = |message: &Incoming| {
            (message.exchange.clone(), message.routing_key.clone(), message.user_id.clone())
        };
        assert_eq!(came(&back), ("shop.inbound".into(), "fact.usage".into(), Some("gateway".into())));
        assert_eq!(incoming().laid_aside(&namespace(), NOW), None, "no dead letter");
    }
}
