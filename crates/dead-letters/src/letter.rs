//! A dead letter as it comes by the queue.

use crate::fingerprint;
use crate::subject::Subject;
use bus::{Attempt, Death, Incoming, ReplayedLetter, Returned, UnreadableProperties, code, queue};
use domain::fact::FactKind;
use processors::Origins;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use time::OffsetDateTime;

/// What is known of the fleet whose letters are read.
#[derive(Debug, Clone)]
pub struct FleetContext {
    /// How a stored webhook's body is read.
    pub settings: processors::Settings,
    /// The names of its workers. Letters of all others count together: their name is whatever somebody wrote.
    pub workers: &'static [&'static str],
}

/// A message that a worker, or the broker itself, gave up on.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Its worker, where that is one of the fleet's.
    known_worker: Option<&'static str>,
    pub worker: String,
    /// In which it lay, without the namespace: where a replay puts it back.
    pub queue: String,
    /// Machine-readable.
    pub code: String,
    pub reason: String,
    pub attempts: Vec<Attempt>,
    pub first_failed_at: OffsetDateTime,
    pub dead_at: OffsetDateTime,
    /// The replay in which it died again, and the letter it was before.
    pub replayed: Option<ReplayedLetter>,
    /// As it first came.
    pub message: Incoming,
    pub subject: Subject,
}

impl Letter {
    /// Reads what the loop wrote into its headers; where the broker gave up on it, what that wrote.
    pub fn read(incoming: &Incoming, fleet: &FleetContext, now: OffsetDateTime) -> Self {
        let death = incoming.death.clone().unwrap_or_else(|| match &incoming.unreadable {
            Some(unreadable) => stray(incoming, code::UNREADABLE, unreadable.reason()),
            None => stray(incoming, crate::code::UNEXPLAINED, UNEXPLAINED.to_owned()),
        });
        let returned = incoming.returned.clone();
        let first_failed_at = returned.as_ref().map_or(now, |returned| returned.first_failed_at);
        let replayed = returned.as_ref().and_then(|returned| returned.replayed);
        let attempts = returned.map(|returned| returned.attempts).unwrap_or_default();
        let mut message = Incoming { returned: None, death: None, returns: 0, ..incoming.clone() };
        keep_no_raw_origin(&death, &mut message);
        let subject = subject(&death, &message, &fleet.settings, first_failed_at);
        let known_worker = fleet.workers.iter().copied().find(|worker| *worker == death.worker);
        Self {
            known_worker,
            worker: death.worker,
            queue: death.queue,
            code: death.code,
            reason: death.reason,
            attempts,
            first_failed_at,
            dead_at: death.at.unwrap_or(now),
            replayed,
            message,
            subject,
        }
    }

    /// The same for the same death of the same message, however often its letter is delivered.
    pub fn key(&self) -> [u8; 32] {
        let replay = self.replayed.map(|replayed| replayed.replay.to_string()).unwrap_or_default();
        let id = self.message.message_id.as_deref().unwrap_or("");
        let said = [
            self.worker.as_bytes(),
            self.queue.as_bytes(),
            id.as_bytes(),
            replay.as_bytes(),
            &self.message.body,
        ];
        // Two messages may differ only in what cannot be read.
        let unreadable = self.message.unreadable.as_ref().map(UnreadableProperties::identity);
        match &unreadable {
            None => key(&said),
            Some(unreadable) => key(&[&said[..], &[unreadable]].concat()),
        }
    }

    /// The kind of failure it is one of.
    pub fn fingerprint(&self) -> String {
        let worker = self.known_worker;
        // What a stranger can write differently in every message makes no kind of its own.
        match (worker, self.code.as_str()) {
            (None, _) => fingerprint::of(fingerprint::FOREIGN, None, "", ""),
            (Some(worker), code::UNREADABLE) => fingerprint::of(worker, None, code::UNREADABLE, ""),
            (Some(worker), code) => fingerprint::of(worker, self.fact_kind(), code, &self.reason),
        }
    }

    /// The type of its fact as far as it is one of ours: what anybody makes up is no kind of failure of its own.
    pub fn fact_kind(&self) -> Option<&'static str> {
        let stated = self.subject.fact_type.as_deref()?;
        let known = FactKind::ALL.into_iter().map(FactKind::as_str);
        Some(known.into_iter().find(|kind| *kind == stated).unwrap_or("unknown"))
    }
}

/// Addresses and devices that a platform states are digested by the gate as it reads a message. What the loop or the broker gave up on
/// before that holds them as they came, and is not kept so.
fn keep_no_raw_origin(death: &Death, message: &mut Incoming) {
    if death.queue != queue::GATE_INBOUND {
        return;
    }
    if let Cow::Owned(body) = Origins::without_raw(&message.body) {
        message.body = body;
    }
}

/// What the message is about. What made its worker panic may do so here; what ended a process is not decoded again, only
/// looked at: such a letter is kept, too, and is found by its fact.
fn subject(
    death: &Death,
    message: &Incoming,
    settings: &processors::Settings,
    now: OffsetDateTime,
) -> Subject {
    let read = AssertUnwindSafe(|| match death.code == code::CRASH {
        true => Subject::looked_at(&death.queue, message),
        false => Subject::of(&death.queue, message, settings, now),
    });
    catch_unwind(read).unwrap_or_default()
}

/// What of a message cannot be read, in hexadecimal digits; empty is what can be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsItCame {
    pub exchange: String,
    pub routing_key: String,
    /// AMQP 0-9-1: flags and values.
    pub properties: String,
}

impl From<&UnreadableProperties> for AsItCame {
    fn from(unreadable: &UnreadableProperties) -> Self {
        Self {
            exchange: hex::encode(&unreadable.exchange),
            routing_key: hex::encode(&unreadable.routing_key),
            properties: hex::encode(&unreadable.properties),
        }
    }
}

/// A message as it is stored in a letter's row.
pub(crate) struct Stored {
    pub exchange: String,
    pub routing_key: String,
    pub message_id: String,
    pub content_type: Option<String>,
    pub user_id: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Stored {
    /// As it first came, but for what its worker takes for now.
    pub fn message(self, first_failed_at: OffsetDateTime, replayed: Option<ReplayedLetter>) -> Incoming {
        Incoming {
            exchange: self.exchange,
            routing_key: self.routing_key,
            message_id: Some(self.message_id).filter(|id| !id.is_empty()),
            content_type: self.content_type,
            user_id: self.user_id,
            headers: self.headers,
            returned: Some(Returned { first_failed_at, attempts: Vec::new(), replayed }),
            death: None,
            returns: 0,
            unreadable: None,
            body: self.body,
        }
    }
}

pub(crate) fn key(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

const UNEXPLAINED: &str = "expected the headers of a dead letter, got none: who publishes to this exchange?";

/// A message that somebody put there and that says nothing of its death.
fn stray(incoming: &Incoming, code: &str, reason: String) -> Death {
    Death {
        worker: incoming.routing_key.clone(),
        queue: String::new(),
        code: code.to_owned(),
        reason,
        at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn kind(worker: &str, code: &str, reason: &str) -> String {
        let death = Death {
            worker: worker.to_owned(),
            queue: "q".to_owned(),
            code: code.to_owned(),
            reason: reason.to_owned(),
            at: None,
        };
        let incoming = Incoming { death: Some(death), ..Incoming::default() };
        let workers = &["gate", "ledger"];
        let fleet = FleetContext { settings: processors::Settings::default(), workers };
        Letter::read(&incoming, &fleet, OffsetDateTime::UNIX_EPOCH).fingerprint()
    }

    /// The loop and the broker give up on messages that the gate has not read.
    #[test]
    fn no_letter_keeps_an_address_that_a_platform_stated() {
        let check = |queue: &str, body: &str, expect: &str| {
            let death = Death {
                worker: "gate".to_owned(),
                queue: queue.to_owned(),
                code: code::CRASH.to_owned(),
                reason: "the process ended".to_owned(),
                at: None,
            };
            let incoming =
                Incoming { death: Some(death), body: body.as_bytes().to_vec(), ..Incoming::default() };
            let fleet = FleetContext { settings: processors::Settings::default(), workers: &["gate"] };
            let letter = Letter::read(&incoming, &fleet, OffsetDateTime::UNIX_EPOCH);
            assert_eq!(std::str::from_utf8(&letter.message.body).unwrap(), expect);
        };
        let raw = r#"{"data":{"account":"a","ip":"192.0.2.1"}}"#;
        check(queue::GATE_INBOUND, raw, r#"{"data":{"account":"a","ip":"[removed]"}}"#);
        let digest = format!(r#"{{"ip":"hmac-sha256:{}"}}"#, "0".repeat(64));
        check(queue::GATE_INBOUND, &digest, &digest);
        // A webhook is signed as it came.
        check(queue::INGESTER, raw, raw);
    }

    /// Whoever may publish at all could else raise an alert with every message.
    #[test]
    fn what_a_stranger_writes_differently_each_time_makes_no_kinds() {
        let of_gate = kind("gate", code::UNREADABLE, "the header \\xff is no UTF-8");
        assert_eq!(
            of_gate,
            kind("gate", code::UNREADABLE, "the routing key zz is no UTF-8, the rest malformed")
        );
        assert_ne!(of_gate, kind("ledger", code::UNREADABLE, "the header \\xff is no UTF-8"));
        let foreign: BTreeSet<String> = [
            kind("anybody", "unexplained", "a"),
            kind("somebody", "malformed", "b"),
            kind("", code::UNREADABLE, "c"),
            kind("Gate", "d", "e"),
        ]
        .into();
        assert_eq!(foreign.len(), 1);
        assert!(!foreign.contains(&of_gate));
        assert_ne!(kind("gate", "malformed", "a"), kind("gate", "malformed", "b"));
    }
}
