//! The chain of events: each event's hash follows from what it says and from the hash of its account's event before it, and
//! the account's row carries the last one. A change, removal or swap of an event breaks it, and `ledger verify` names
//! the place.
//!
//! What is hashed is what is published, so that a subscriber can follow the chain by what came to him.

use crate::event::StoredEvent;
use sha2::{Digest, Sha256};

pub use crate::event::EventHash;

/// The hash before an account's first event, and before each event of no account.
pub const GENESIS: EventHash = [0; 32];

impl StoredEvent {
    /// At the end of a chain: its hash follows from `head`, and is the head from now on. The caller holds the lock on the
    /// account's row.
    #[must_use]
    pub fn chained(mut self, head: &mut EventHash) -> Self {
        self.hash = self.chained_hash(head);
        *head = self.hash;
        self
    }

    /// An event of no account: a chain of its own.
    #[must_use]
    pub fn alone(self) -> Self {
        self.chained(&mut { GENESIS })
    }

    /// SHA-256 over the hash before it and what it says, each field ended by a zero byte, which no text in Postgres holds. The
    /// data is hashed as the text that is stored and published. The migration that began the chain says the same in SQL.
    pub fn chained_hash(&self, previous: &EventHash) -> EventHash {
        let mut hasher = Sha256::new();
        hasher.update(previous);
        let mut field = |text: &str| {
            hasher.update(text.as_bytes());
            hasher.update([0]);
        };
        field(&self.id.to_string());
        field(self.account.as_deref().unwrap_or(""));
        field(&self.sequence.map_or_else(String::new, |sequence| sequence.to_string()));
        field(&self.kind);
        field(&self.source);
        field(&self.cause);
        // Postgres keeps microseconds.
        field(&(self.time.unix_timestamp_nanos() / 1000).to_string());
        field(self.traceparent.as_deref().unwrap_or(""));
        field(self.data.0.get());
        hasher.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::types::Json;
    use time::OffsetDateTime;

    fn event(sequence: i64) -> StoredEvent {
        StoredEvent {
            id: uuid::Uuid::nil(),
            source: "bursar/ledger".to_owned(),
            account: Some("acct_1".to_owned()),
            sequence: Some(sequence),
            kind: "credits.granted".to_owned(),
            time: OffsetDateTime::UNIX_EPOCH,
            cause: "paddle/evt_1".to_owned(),
            traceparent: None,
            data: Json(serde_json::value::to_raw_value("x").expect("a text")),
            hash: GENESIS,
        }
    }

    /// Something else in one place, and another hash.
    #[track_caller]
    fn check(change: impl Fn(&mut StoredEvent)) {
        let mut changed = event(1);
        change(&mut changed);
        assert_ne!(changed.chained_hash(&GENESIS), event(1).chained_hash(&GENESIS));
    }

    #[test]
    fn whatever_an_event_says_is_in_its_hash() {
        check(|event| event.id = uuid::Uuid::max());
        check(|event| event.source.push('x'));
        check(|event| event.account = Some("acct_2".to_owned()));
        check(|event| event.account = None);
        check(|event| event.sequence = Some(2));
        check(|event| event.kind = "credits.held".to_owned());
        check(|event| event.time += time::Duration::microseconds(1));
        check(|event| event.cause.push('x'));
        check(|event| event.traceparent = Some("00-1".to_owned()));
        check(|event| event.data = Json(serde_json::value::to_raw_value("y").expect("a text")));
        // From one field into the next.
        check(|event| {
            (event.kind, event.source) = ("credits.granted".to_owned() + "b", "ursar/ledger".to_owned())
        });
    }

    #[test]
    fn each_event_follows_from_the_one_before() {
        let mut head = GENESIS;
        let first = event(1).chained(&mut head);
        assert_eq!(head, first.hash);
        let second = event(2).chained(&mut head);
        assert_eq!((head, second.hash), (second.hash, event(2).chained_hash(&first.hash)));
        assert_eq!(event(1).alone().hash, first.hash);
    }
}
