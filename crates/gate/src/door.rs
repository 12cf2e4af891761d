//! Who may say what: the two doors of the gate, and what may come through each.

use crate::code;
use bus::{Incoming, exchange, queue};
use domain::envelope::is_batch;
use domain::{Envelope, FactKind};
use facts::rights::{self, Denied};
use facts::{NotAFact, Sender};
use processors::{Settings, Sources, Speaker};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// Who may state what on `inbound`.
#[derive(Debug, Clone, Default)]
pub struct Publishers {
    /// Which facts each may state, by the user name that the broker has validated.
    pub rights: BTreeMap<String, BTreeSet<FactKind>>,
    /// Under which sources, of all who are bound to some.
    pub sources: Sources,
}

/// Which exchange a message came in by, and so what it is worth.
#[derive(Debug, Clone)]
pub enum Door {
    /// Only the ingester writes there: everything was checked.
    Verified,
    /// The platform's services write there, each within its rights.
    Inbound(Publishers),
}

/// Something that may not come in, and the code of the dead letter that it becomes.
pub(crate) struct RefusedPart {
    pub code: &'static str,
    pub what: NotAFact,
}

impl Door {
    pub fn queue(&self) -> &'static str {
        match self {
            Door::Verified => queue::GATE,
            Door::Inbound(_) => queue::GATE_INBOUND,
        }
    }

    /// The facts in a message, each readable and allowed or not by itself.
    pub(crate) fn read(
        &self,
        message: &Incoming,
        now: OffsetDateTime,
        settings: &Settings,
    ) -> Vec<Result<Envelope, RefusedPart>> {
        let message = &*self.sealed(message, settings);
        let parts = facts::read(message, self.sender(), now);
        let kind = parts.iter().find_map(|part| part.as_ref().ok()).map(|envelope| envelope.fact.kind());
        let check = |part: Result<Envelope, NotAFact>| {
            let envelope = part.map_err(|what| RefusedPart { code: code::MALFORMED, what })?;
            match self.check(&envelope, kind, message, settings) {
                Ok(()) => Ok(envelope),
                Err((code, reason)) => Err(RefusedPart { code, what: unwanted(envelope, reason, message) }),
            }
        };
        parts.into_iter().map(check).collect()
    }

    /// The message with digests for the addresses and devices that a platform states: what comes after reads, hashes and keeps no
    /// others. What the ingester wrote has none.
    fn sealed<'a>(&self, message: &'a Incoming, settings: &Settings) -> Cow<'a, Incoming> {
        let body = match self {
            Door::Verified => Cow::Borrowed(message.body.as_slice()),
            Door::Inbound(_) => settings.origins.sealed(&message.body),
        };
        match body {
            Cow::Borrowed(_) => Cow::Borrowed(message),
            Cow::Owned(body) => Cow::Owned(Incoming { body, ..message.clone() }),
        }
    }

    fn sender(&self) -> Sender {
        match self {
            Door::Verified => Sender::Fleet,
            Door::Inbound(_) => Sender::Platform,
        }
    }

    /// A batch holds facts of one kind: that of its first readable event.
    fn check(
        &self,
        envelope: &Envelope,
        kind_of_batch: Option<FactKind>,
        message: &Incoming,
        settings: &Settings,
    ) -> Result<(), (&'static str, String)> {
        let kind = envelope.fact.kind();
        if Some(kind) != kind_of_batch {
            return Err((code::MALFORMED, format!("expected a batch of one type, got {kind} among others")));
        }
        let malformed = |reason| (code::MALFORMED, reason);
        settings.origins.check(&envelope.fact).map_err(malformed)?;
        envelope.fact.check(settings.credits_scale).map_err(malformed)?;
        match self {
            Door::Verified => Ok(()),
            Door::Inbound(publishers) => publishers
                .check(message.user_id.as_deref(), envelope)
                .map_err(|reason| (code::FORBIDDEN, reason)),
        }
    }
}

/// A fact that may not come in: the message itself, or the part of it that it is.
fn unwanted(envelope: Envelope, reason: String, message: &Incoming) -> NotAFact {
    match is_batch(message.content_type.as_deref()) {
        true => {
            let (content_type, body) = facts::encode(&envelope);
            NotAFact { body, content_type: Some(content_type), reason }
        }
        false => NotAFact { body: message.body.clone(), content_type: None, reason },
    }
}

impl Publishers {
    fn check(&self, user: Option<&str>, envelope: &Envelope) -> Result<(), String> {
        let speaker = user.map(|user| Speaker::Publisher(user.to_owned()));
        let may_state = |kind| self.may_state(user, kind);
        rights::check(envelope, may_state, speaker.as_ref(), &self.sources).map_err(|denied| match denied {
            Denied::Money(kind) => format!(
                "{kind} is accepted from {} alone: only a verified webhook may speak of money",
                exchange::VERIFIED
            ),
            Denied::Kind(kind) => self.denied(user, kind),
            Denied::Source(reason) => reason,
        })
    }

    fn may_state(&self, user: Option<&str>, kind: FactKind) -> bool {
        match self.rights.is_empty() {
            true => kind.is_open_to_all(),
            false => user.and_then(|user| self.rights.get(user)).is_some_and(|kinds| kinds.contains(&kind)),
        }
    }

    /// Why this publisher may not state facts of this kind.
    fn denied(&self, user: Option<&str>, kind: FactKind) -> String {
        match user {
            _ if self.rights.is_empty() => {
                format!("no publisher is configured for {kind}: add it under [[publishers]]")
            }
            None => "expected the AMQP property user_id, got none: the broker validates it".to_owned(),
            Some(user) if self.rights.contains_key(user) => {
                format!("publisher {user:?} may not state {kind}: see [[publishers]]")
            }
            Some(user) => format!("publisher {user:?} is not configured: see [[publishers]]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-20 10:00:00 UTC);

    fn usage(source: &str) -> String {
        format!(
            r#"{{"specversion":"1.0","type":"fact.usage","source":"{source}","id":"1","data":{{"account":"a","credits":"1"}}}}"#
        )
    }

    fn message(body: &str, user: Option<&str>) -> Incoming {
        Incoming {
            exchange: "bursar.inbound".to_owned(),
            routing_key: "fact.usage".to_owned(),
            message_id: None,
            content_type: Some("application/cloudevents+json".to_owned()),
            user_id: user.map(str::to_owned),
            body: body.as_bytes().to_vec(),
            ..Incoming::default()
        }
    }

    fn publishers(rights: &[(&str, FactKind)]) -> Door {
        let mut publishers = Publishers::default();
        for (user, kind) in rights {
            publishers.rights.entry((*user).to_owned()).or_default().insert(*kind);
        }
        Door::Inbound(publishers)
    }

    #[test]
    fn a_publisher_states_what_it_may_and_nothing_else() {
        let check = |door: &Door, body: &str, user, expect: Option<&str>| {
            let read = door.read(&message(body, user), NOW, &Settings::default()).remove(0);
            assert_eq!(read.err().map(|refused| refused.code), expect, "{body} {user:?}");
        };
        let open = publishers(&[]);
        let closed = publishers(&[("shop", FactKind::Usage)]);
        let grant =
            usage("shop").replace("fact.usage", "fact.grant").replace("\"1\"}", "\"1\",\"reason\":\"r\"}");
        check(&open, &usage("shop"), None, None);
        check(&open, &grant, None, Some("forbidden"));
        check(&closed, &usage("shop"), Some("shop"), None);
        check(&closed, &usage("shop"), None, Some("forbidden"));
        check(&closed, &usage("shop"), Some("other"), Some("forbidden"));
        check(&closed, &grant, Some("shop"), Some("forbidden"));
        for source in [
            "paddle",
            "stripe/x",
            "generic/y",
            "bursar/ledger",
            "operator/root",
            "Paddle",
            "//paddle",
            "%70addle/x",
        ] {
            check(&open, &usage(source), None, Some("forbidden"));
        }
        check(&open, &usage("shop").replace("\"1\"}", "\"-1\"}"), None, Some("malformed"));
        check(&open, "not json", None, Some("malformed"));
    }

    #[test]
    fn a_publisher_speaks_under_the_sources_it_is_bound_to_and_nobody_else_under_them() {
        let mut publishers = Publishers::default();
        for user in ["gateway", "shop"] {
            publishers.rights.insert(user.to_owned(), [FactKind::Usage].into());
        }
        publishers.sources.bind(Speaker::Publisher("gateway".to_owned()), ["gateway/*".parse().unwrap()]);
        publishers.sources.bind(Speaker::Token("console".to_owned()), ["console".parse().unwrap()]);
        let door = Door::Inbound(publishers);
        let check = |source: &str, user, expect: Option<&str>| {
            let read = door.read(&message(&usage(source), Some(user)), NOW, &Settings::default()).remove(0);
            let refused = read.err();
            assert_eq!(
                refused.as_ref().map(|refused| refused.code),
                expect.map(|_| "forbidden"),
                "{source} {user}"
            );
            let reason = refused.map(|refused| refused.what.reason).unwrap_or_default();
            assert!(reason.contains(expect.unwrap_or_default()), "{source} {user}: {reason}");
        };
        check("gateway/eu-1", "gateway", None);
        check("shop", "gateway", Some("its sources are gateway/*"));
        check("gateway/eu-1", "shop", Some("bound to another publisher or token"));
        check("Gateway//eu-1", "shop", Some("bound to another publisher or token"));
        check("console", "shop", Some("bound to another publisher or token"));
        check("shop", "shop", None);
        let open = Door::Inbound(match door.clone() {
            Door::Inbound(publishers) => Publishers { rights: BTreeMap::new(), ..publishers },
            Door::Verified => unreachable!(),
        });
        assert!(
            open.read(&message(&usage("gateway/eu-1"), None), NOW, &Settings::default())[0].is_err(),
            "also where nobody is configured"
        );
        assert!(open.read(&message(&usage("shop"), None), NOW, &Settings::default())[0].is_ok());
    }

    #[test]
    fn money_comes_through_the_verified_door_alone() {
        let hold = r#"{"specversion":"1.0","type":"fact.hold","source":"desk","id":"1","data":{"hold":"h","payment":"paddle:t",
            "amount":{"amount":"1","currency":"USD"},"status":"placed","occurred_at":"2026-11-20T10:00:00Z"}}"#;
        let door = publishers(&[("shop", FactKind::Hold)]);
        assert!(door.read(&message(hold, Some("shop")), NOW, &Settings::default())[0].is_err());
        assert!(Door::Verified.read(&message(hold, None), NOW, &Settings::default())[0].is_ok());
    }
}
