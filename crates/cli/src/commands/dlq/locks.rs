//! Which parts of a fact an edit may change alone, and which only with a second operator.
//!
//! What a fact is about, and what it is worth, are not for one person to change. A part that stands in no list here, be it of
//! a newer version or of no version, is locked like an identity: nobody knows what it decides.

use domain::FactKind;
use std::fmt;

/// Why a part is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Lock {
    /// What it is, whose it is, who says so.
    Identity,
    /// How much, of which kind, whether it counts, and which of two descriptions counts.
    Money,
}

impl Lock {
    pub fn as_str(self) -> &'static str {
        match self {
            Lock::Identity => "identity",
            Lock::Money => "money",
        }
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The fields of `data` by what locks them; each holds for everything below it.
struct Fields {
    identity: &'static [&'static str],
    money: &'static [&'static str],
    free: &'static [&'static str],
    /// Those among all of them that may name a person.
    person: &'static [&'static str],
}

/// Parts of the envelope that say nothing of what the fact is about.
const FREE: [&str; 4] = ["time", "datacontenttype", "traceparent", "receivedat"];

/// Parts of the envelope that are locked. They stand here to be seen: any other is locked too.
const IDENTITY: [&str; 4] = ["specversion", "type", "source", "id"];

/// The one table. `occurred_at` tells which of two descriptions counts: of a payment that is money, of a customer whose it is.
fn fields(kind: FactKind) -> Fields {
    match kind {
        FactKind::Payment => Fields {
            identity: &["payment", "aliases", "object", "account", "customer"],
            money: &["precedence", "status", "amount", "before_tax", "items", "occurred_at"],
            free: &[],
            person: &["customer"],
        },
        FactKind::Movement => Fields {
            identity: &["movement", "payment", "aliases", "hold"],
            money: &["kind", "status", "amount", "full", "occurred_at"],
            free: &[],
            person: &[],
        },
        FactKind::Dispute => Fields {
            identity: &["dispute", "payment", "aliases"],
            money: &["status", "amount", "occurred_at"],
            free: &["reason", "evidence_due_by"],
            person: &["reason"],
        },
        FactKind::Customer => Fields {
            identity: &["customer", "email", "account", "occurred_at"],
            money: &[],
            free: &["reason"],
            person: &["customer", "email", "reason"],
        },
        FactKind::Usage => Fields {
            identity: &["account", "reference"],
            money: &["credits"],
            free: &["description"],
            person: &["description"],
        },
        FactKind::Grant => Fields {
            identity: &["account", "by"],
            money: &["credits", "kind", "expires_at"],
            free: &["reason"],
            person: &["reason"],
        },
        FactKind::Hold => Fields {
            identity: &["hold", "payment"],
            money: &["amount", "status", "occurred_at"],
            free: &[],
            person: &[],
        },
        FactKind::RefundRequest => Fields {
            identity: &["transaction", "account"],
            money: &["amount"],
            free: &["reason"],
            person: &["transaction", "reason"],
        },
        FactKind::Adjustment => Fields {
            identity: &["account", "by"],
            money: &["credits", "kind"],
            free: &["reason"],
            person: &["reason"],
        },
        FactKind::Assignment => Fields {
            identity: &["payment", "act", "account", "by"],
            money: &["credits", "occurred_at"],
            free: &["reason"],
            person: &["reason"],
        },
        FactKind::Valuation => Fields {
            identity: &["payment", "movement", "by"],
            money: &["amount", "occurred_at"],
            free: &["reason"],
            person: &["reason"],
        },
        FactKind::Expiry => Fields { identity: &["account"], money: &["as_of"], free: &[], person: &[] },
        FactKind::Unrecognised => Fields {
            identity: &["processor", "event_type", "why"],
            money: &[],
            free: &["detail"],
            person: &["detail"],
        },
    }
}

/// The field of `data` that a path leads to or into.
fn field(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("data.")?;
    Some(inside.split('.').next().unwrap_or(inside))
}

/// What locks a part of a fact of this kind; nothing where one operator may change it.
pub fn lock(kind: FactKind, path: &str) -> Option<Lock> {
    if FREE.contains(&path) {
        return None;
    }
    let Some(field) = field(path) else { return Some(Lock::Identity) };
    let Fields { identity, money, free, person: _ } = fields(kind);
    match field {
        _ if money.contains(&field) => Some(Lock::Money),
        _ if free.contains(&field) && !identity.contains(&field) => None,
        _ => Some(Lock::Identity),
    }
}

/// Whether a part may hold an address or a text that names somebody. Anything might that is not known.
pub fn may_name_a_person(kind: FactKind, path: &str) -> bool {
    let Some(field) = field(path) else { return !FREE.contains(&path) && !IDENTITY.contains(&path) };
    let Fields { identity, money, free, person } = fields(kind);
    let is_known = [identity, money, free].iter().any(|fields| fields.contains(&field));
    !is_known || person.contains(&field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Envelope;
    use serde_json::{Value, json};
    use std::collections::BTreeSet;
    use time::OffsetDateTime;

    const WHEN: &str = "2026-11-20T10:00:00Z";

    /// Every field that a fact of a kind may have.
    fn whole(kind: FactKind) -> Value {
        let money = json!({ "amount": "1.00", "currency": "USD" });
        let link = json!({ "account": "a", "proof": "stated" });
        match kind {
            FactKind::Payment => {
                json!({ "payment": "paddle:t", "aliases": ["paddle:u"], "object": "t", "precedence": 1, "status": "paid", "amount": money,
                "before_tax": money, "items": [{ "price": "p", "quantity": 1 }], "account": link, "customer": "paddle:c", "occurred_at": WHEN })
            }
            FactKind::Movement => {
                json!({ "movement": "m", "payment": "paddle:t", "aliases": ["paddle:u"], "kind": "refund", "status": "final",
                "amount": money, "full": true, "hold": "h", "occurred_at": WHEN })
            }
            FactKind::Dispute => {
                json!({ "dispute": "d", "payment": "paddle:t", "aliases": ["paddle:u"], "status": "open", "amount": money, "reason": "r",
                "evidence_due_by": WHEN, "occurred_at": WHEN })
            }
            FactKind::Customer => {
                json!({ "customer": "paddle:c", "email": "email:jane@example.com", "account": link, "reason": "r", "occurred_at": WHEN })
            }
            FactKind::Usage => {
                json!({ "account": "a", "credits": "1", "reference": "r", "description": "d" })
            }
            FactKind::Grant => {
                json!({ "account": "a", "credits": "1", "kind": "goodwill", "reason": "r", "expires_at": WHEN, "by": "ada" })
            }
            FactKind::Hold => {
                json!({ "hold": "h", "payment": "paddle:t", "amount": money, "status": "placed", "occurred_at": WHEN })
            }
            FactKind::RefundRequest => {
                json!({ "transaction": "t", "account": "a", "amount": money, "reason": "r" })
            }
            FactKind::Adjustment => {
                json!({ "account": "a", "credits": "1", "kind": "correction", "reason": "r", "by": "ada" })
            }
            FactKind::Assignment => {
                json!({ "payment": "paddle:t", "act": "move", "account": "a", "credits": "1", "reason": "r", "by": "ada", "occurred_at": WHEN })
            }
            FactKind::Valuation => {
                json!({ "payment": "paddle:t", "movement": "m", "amount": money, "reason": "r", "by": "ada", "occurred_at": WHEN })
            }
            FactKind::Expiry => json!({ "account": "a", "as_of": WHEN }),
            FactKind::Unrecognised => {
                json!({ "processor": "paddle", "event_type": "e", "why": "value", "detail": "d" })
            }
        }
    }

    /// What the facts themselves say they consist of: a field that is added and that nobody has thought of shows here.
    #[test]
    fn every_field_of_every_fact_stands_in_one_list() {
        for kind in FactKind::ALL {
            let body = json!({ "specversion": "1.0", "type": kind.as_str(), "source": "s", "id": "1", "data": whole(kind) });
            let envelope = Envelope::parse(&body.to_string(), OffsetDateTime::UNIX_EPOCH).unwrap();
            let canonical: Value = serde_json::from_str(envelope.fact.canonical().get()).unwrap();
            let own: BTreeSet<&str> = canonical.as_object().unwrap().keys().map(String::as_str).collect();
            let Fields { identity, money, free, person } = fields(kind);
            let listed: Vec<&str> = [identity, money, free].concat();
            assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), own, "{kind}");
            assert_eq!(listed.len(), own.len(), "{kind}: each in one list");
            assert!(person.iter().all(|field| own.contains(field)), "{kind}");
        }
    }

    #[test]
    fn what_a_fact_is_about_and_worth_is_locked_and_so_is_what_nobody_knows() {
        let check = |kind, path: &str, expect| assert_eq!(lock(kind, path), expect, "{kind} {path}");
        for path in [
            "",
            "specversion",
            "type",
            "source",
            "id",
            "data",
            "subject",
            "time.x",
            "\"data.reason\"",
            "rawbody",
        ] {
            check(FactKind::Grant, path, Some(Lock::Identity));
        }
        check(FactKind::Grant, "time", None);
        check(FactKind::Grant, "data.reason", None);
        check(FactKind::Grant, "data.credits", Some(Lock::Money));
        check(FactKind::Grant, "data.new", Some(Lock::Identity));
        check(FactKind::Payment, "data.account.account", Some(Lock::Identity));
        check(FactKind::Payment, "data.items.0.quantity", Some(Lock::Money));
        check(FactKind::Payment, "data.amount.currency", Some(Lock::Money));
        check(FactKind::Usage, "data.description", None);
        check(FactKind::Usage, "data.reason", Some(Lock::Identity));
    }

    #[test]
    fn a_text_or_an_address_may_name_a_person_and_so_may_what_nobody_knows() {
        for (path, expect) in [
            ("id", false),
            ("data.account", false),
            ("data.account.account", false),
            ("data.email", true),
            ("data.reason", true),
            ("data.other", true),
            ("other", true),
            ("", true),
        ] {
            assert_eq!(may_name_a_person(FactKind::Customer, path), expect, "{path}");
        }
    }
}
