//! Who may say what: the two doors of the gate, and what may come through each.

use crate::code;
use bus::{Incoming, exchange, queue};
use domain::envelope::{CONTENT_TYPE, InvalidEnvelope, Unreadable, is_batch};
use domain::{Envelope, FactKind};
use processors::{Sources, Speaker};
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

/// Something that may not come in.
pub(crate) struct Refused {
    pub body: Vec<u8>,
    /// Set where it is a part of a message.
    pub content_type: Option<&'static str>,
    pub code: &'static str,
    pub reason: String,
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
        credits_scale: u32,
    ) -> Vec<Result<Envelope, Refused>> {
        let whole = |code, reason: String| {
            vec![Err(Refused { body: message.body.clone(), content_type: None, code, reason })]
        };
        let Ok(text) = std::str::from_utf8(&message.body) else {
            return whole(code::MALFORMED, "expected JSON in UTF-8, got other bytes".to_owned());
        };
        if !is_batch(message.content_type.as_deref()) {
            let read = self
                .parse(text, now)
                .map_err(|error| (code::MALFORMED, error.to_string()))
                .and_then(|envelope| self.admit(envelope, message, credits_scale));
            return match read {
                Ok(envelope) => vec![Ok(envelope)],
                Err((code, reason)) => whole(code, reason),
            };
        }
        let batch = match self {
            Door::Verified => Envelope::parse_batch(text, now),
            Door::Inbound(_) => Envelope::parse_stated_batch(text, now),
        };
        match batch {
            Err(error) => whole(code::MALFORMED, error.to_string()),
            Ok(read) => one_kind(read)
                .into_iter()
                .map(|read| self.admit_element(read, message, credits_scale))
                .collect(),
        }
    }

    fn parse(&self, text: &str, now: OffsetDateTime) -> Result<Envelope, InvalidEnvelope> {
        match self {
            Door::Verified => Envelope::parse(text, now),
            Door::Inbound(_) => Envelope::parse_stated(text, now),
        }
    }

    fn admit_element(
        &self,
        read: Element,
        message: &Incoming,
        credits_scale: u32,
    ) -> Result<Envelope, Refused> {
        let refused = |body: String, code, reason| Refused {
            body: body.into_bytes(),
            content_type: Some(CONTENT_TYPE),
            code,
            reason,
        };
        match read {
            Err((element, error)) => Err(refused(element, code::MALFORMED, error)),
            Ok(envelope) => {
                let text = envelope.to_json();
                self.admit(envelope, message, credits_scale)
                    .map_err(|(code, reason)| refused(text, code, reason))
            }
        }
    }

    fn admit(
        &self,
        envelope: Envelope,
        message: &Incoming,
        credits_scale: u32,
    ) -> Result<Envelope, (&'static str, String)> {
        envelope.fact.check(credits_scale).map_err(|reason| (code::MALFORMED, reason))?;
        match self {
            Door::Verified => Ok(envelope),
            Door::Inbound(publishers) => {
                let kind = envelope.fact.kind();
                publishers.check(message.user_id.as_deref(), kind)?;
                publishers.check_source(message.user_id.as_deref(), &envelope.cause.source)?;
                Ok(envelope)
            }
        }
    }
}

type Element = Result<Envelope, (String, String)>;

/// A batch holds facts of one type: that of its first readable event.
fn one_kind(read: Vec<Result<Envelope, Unreadable>>) -> Vec<Element> {
    let kind = read.iter().find_map(|read| read.as_ref().ok()).map(|envelope| envelope.fact.kind());
    read.into_iter()
        .map(|read| match read {
            Err(Unreadable { text, error }) => Err((text, error.to_string())),
            Ok(envelope) if Some(envelope.fact.kind()) != kind => {
                let reason =
                    format!("expected a batch of one type, got {} among others", envelope.fact.kind());
                Err((envelope.to_json(), reason))
            }
            Ok(envelope) => Ok(envelope),
        })
        .collect()
}

impl Publishers {
    fn check(&self, user: Option<&str>, kind: FactKind) -> Result<(), (&'static str, String)> {
        let forbidden = |reason: String| Err((code::FORBIDDEN, reason));
        if kind.is_money() {
            return forbidden(format!(
                "{kind} is accepted from {} alone: only a verified webhook may speak of money",
                exchange::VERIFIED
            ));
        }
        if self.rights.is_empty() {
            return match kind.is_open_to_all() {
                true => Ok(()),
                false => {
                    forbidden(format!("no publisher is configured for {kind}: add it under [[publishers]]"))
                }
            };
        }
        let Some(user) = user else {
            return forbidden(
                "expected the AMQP property user_id, got none: the broker validates it".to_owned(),
            );
        };
        match self.rights.get(user) {
            Some(kinds) if kinds.contains(&kind) => Ok(()),
            Some(_) => forbidden(format!("publisher {user:?} may not state {kind}: see [[publishers]]")),
            None => forbidden(format!("publisher {user:?} is not configured: see [[publishers]]")),
        }
    }

    fn check_source(&self, user: Option<&str>, source: &str) -> Result<(), (&'static str, String)> {
        let speaker = user.map(|user| Speaker::Publisher(user.to_owned()));
        self.sources.check(speaker.as_ref(), source).map_err(|reason| (code::FORBIDDEN, reason))
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
            let read = door.read(&message(body, user), NOW, 6).remove(0);
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
            let read = door.read(&message(&usage(source), Some(user)), NOW, 6).remove(0);
            let refused = read.err();
            assert_eq!(
                refused.as_ref().map(|refused| refused.code),
                expect.map(|_| "forbidden"),
                "{source} {user}"
            );
            let reason = refused.map(|refused| refused.reason).unwrap_or_default();
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
            open.read(&message(&usage("gateway/eu-1"), None), NOW, 6)[0].is_err(),
            "also where nobody is configured"
        );
        assert!(open.read(&message(&usage("shop"), None), NOW, 6)[0].is_ok());
    }

    #[test]
    fn money_comes_through_the_verified_door_alone() {
        let hold = r#"{"specversion":"1.0","type":"fact.hold","source":"desk","id":"1","data":{"hold":"h","payment":"paddle:t",
            "amount":{"amount":"1","currency":"USD"},"status":"placed","occurred_at":"2026-11-20T10:00:00Z"}}"#;
        let door = publishers(&[("shop", FactKind::Hold)]);
        assert!(door.read(&message(hold, Some("shop")), NOW, 6)[0].is_err());
        assert!(Door::Verified.read(&message(hold, None), NOW, 6)[0].is_ok());
    }
}
