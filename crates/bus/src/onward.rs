//! A message as it goes on in the fleet's own hands: to a rung of the retry ladder, to the dead letters, or as a replay.

use crate::header;
use crate::incoming::Incoming;
use crate::message::Message;
use crate::returned::{Attempt, Death, ReplayedLetter, attempts_text, time_text};
use crate::topology::{Namespace, exchange};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use time::OffsetDateTime;

/// Headers travel in one frame of 128 KiB, and the broker ends the connection over a larger one. So much of it is theirs, as
/// they are written there; the rest is left to the other properties and to what the broker adds on a rung. Those of the
/// fleet itself take less than 64 KiB: a reason, and some attempts.
const HEADERS_MAX: usize = 112 * 1024;

/// What a header takes in a frame besides its name and its text: the length of the one, a type, the length of the other.
const HEADER_FRAMING: usize = 1 + 1 + 4;

/// Where a message goes.
pub(crate) struct Destination {
    /// With the namespace; empty for the default exchange.
    pub exchange: String,
    pub routing_key: String,
}

impl Destination {
    /// Straight into a queue (its name without the namespace).
    fn queue(namespace: &Namespace, queue: &str) -> Self {
        Self { exchange: String::new(), routing_key: namespace.name(queue) }
    }

    /// The exchange of dead letters, from this worker.
    pub fn dead_letters(namespace: &Namespace, worker: &str) -> Self {
        Self { exchange: namespace.name(exchange::DEAD), routing_key: worker.to_owned() }
    }
}

/// The body that goes on: of one item of a message, or of all of it.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    /// Nothing where it is the whole message, whose own then holds.
    pub content_type: Option<&'static str>,
    pub body: Vec<u8>,
}

impl Payload {
    /// One item, as its worker has written it.
    pub fn of_part((content_type, body): (&'static str, Vec<u8>)) -> Self {
        Self { content_type: Some(content_type), body }
    }
}

impl Incoming {
    /// The message as it goes on; with why it died, where it has.
    pub(crate) fn on_its_way(
        &self,
        to: Destination,
        payload: Payload,
        attempts: &[Attempt],
        death: Option<&Death>,
        now: OffsetDateTime,
    ) -> Message {
        let Payload { content_type, mut body } = payload;
        let message_id = self.message_id.clone().unwrap_or_else(|| stand_in_id(&body));
        let mut headers = self.headers_onward(attempts, death, now);
        if let Some(unreadable) = &self.unreadable {
            headers.insert(header::UNREADABLE.to_owned(), unreadable.put_on(&mut body).to_string());
        }
        let content_type = content_type.map(str::to_owned).or_else(|| self.content_type.clone());
        Message {
            exchange: to.exchange,
            routing_key: to.routing_key,
            message_id,
            content_type: content_type.unwrap_or_else(|| "application/octet-stream".to_owned()),
            headers,
            body,
        }
    }

    /// How it came, and its own headers as far as they fit.
    fn headers_onward(
        &self,
        attempts: &[Attempt],
        death: Option<&Death>,
        now: OffsetDateTime,
    ) -> BTreeMap<String, String> {
        let mut headers = self.history(attempts, now);
        headers.extend(death.into_iter().flat_map(Death::headers));
        let dropped = self.add_own_headers(&mut headers);
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

    /// Adds the publisher's headers as far as they fit; returns how many do not.
    fn add_own_headers(&self, headers: &mut BTreeMap<String, String>) -> usize {
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
        dropped
    }

    /// How it came, and what was tried since, in headers of the fleet.
    fn history(&self, attempts: &[Attempt], now: OffsetDateTime) -> BTreeMap<String, String> {
        let first_failed_at = self.returned.as_ref().map_or(now, |returned| returned.first_failed_at);
        let mut headers = BTreeMap::from(origin(&self.exchange, &self.routing_key, first_failed_at));
        let mut set = |name: &str, value: String| headers.insert(name.to_owned(), value);
        set(header::ATTEMPTS, attempts_text(attempts));
        if let Some(user) = &self.user_id {
            set(header::USER, user.clone());
        }
        if let Some(ReplayedLetter { replay, letter }) = self.replayed() {
            set(header::REPLAY, replay.to_string());
            set(header::LETTER, letter.to_string());
        }
        headers
    }

    /// A dead letter's message as a replay puts it back into the queue it lay in (its name without the namespace): the
    /// same identity, and its attempts counted from none again. Properties that cannot be read stay behind.
    pub fn replay(&self, namespace: &Namespace, queue: &str) -> Message {
        let to = Destination::queue(namespace, queue);
        let payload = Payload { content_type: None, body: self.body.clone() };
        let now = OffsetDateTime::now_utc();
        if self.unreadable.is_some() {
            let readable = Self { unreadable: None, ..self.clone() };
            return readable.on_its_way(to, payload, &[], None, now);
        }
        self.on_its_way(to, payload, &[], None, now)
    }

    /// A dead letter's message as it may lie in a file and go back to the queue of dead letters: what the broker said in
    /// headers of its own (which no message that is published may carry) it says as a letter of the fleet does. Nothing
    /// where it is no dead letter.
    pub fn laid_aside(&self, namespace: &Namespace, now: OffsetDateTime) -> Option<Message> {
        let mut restored = self.clone().restored(namespace);
        let mut death = restored.death.take()?;
        death.at = death.at.or(Some(now));
        let to = Destination::dead_letters(namespace, &death.worker);
        let payload = Payload { content_type: None, body: std::mem::take(&mut restored.body) };
        Some(restored.on_its_way(to, payload, restored.attempts(), Some(&death), now))
    }

    /// What was given up outside the consumer loop, as the loop would hand it to the dead letters. The same at each call.
    pub fn given_up(&self, namespace: &Namespace, death: &Death) -> Message {
        let to = Destination::dead_letters(namespace, &death.worker);
        let payload = Payload { content_type: None, body: self.body.clone() };
        let at = death.at.unwrap_or_else(OffsetDateTime::now_utc);
        self.on_its_way(to, payload, self.attempts(), Some(death), at)
    }
}

impl Message {
    /// The message as it goes by the default exchange straight into one queue (its name with the namespace), as a replay
    /// does. The queue's reader treats it as one that came by the exchange and the routing key that it has now.
    #[must_use]
    pub fn into_queue(self, queue: &str, now: OffsetDateTime) -> Self {
        let origin = origin(&self.exchange, &self.routing_key, now);
        let mut headers = self.headers;
        headers.extend(origin);
        Self { exchange: String::new(), routing_key: queue.to_owned(), headers, ..self }
    }
}

/// The headers by which a message that goes straight into a queue says how it first came.
fn origin(exchange: &str, routing_key: &str, first_failed_at: OffsetDateTime) -> [(String, String); 3] {
    [
        (header::EXCHANGE.to_owned(), exchange.to_owned()),
        (header::ROUTING_KEY.to_owned(), routing_key.to_owned()),
        (header::FIRST_FAILED_AT.to_owned(), time_text(first_failed_at)),
    ]
}

/// For a message without an id: the same for the same body, so that one which fails twice is known as one.
fn stand_in_id(body: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    format!("body-{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests;
