//! Which parts of a fact an edit may change alone, and which only with a second operator.
//!
//! What a fact is about, and what it is worth, are not for one person to change. A part that stands in no list here, be it of
//! a newer version or of no version, is locked like an identity: nobody knows what it decides.

use domain::FactKind;
use domain::fact::Fields;
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

/// Parts of the envelope that say nothing of what the fact is about.
const FREE: [&str; 4] = ["time", "datacontenttype", "traceparent", "receivedat"];

/// Parts of the envelope that are locked. They stand here to be seen: any other is locked too.
const IDENTITY: [&str; 4] = ["specversion", "type", "source", "id"];

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
    let Fields { identity, money, free, person: _ } = kind.fields();
    match field {
        _ if money.contains(&field) => Some(Lock::Money),
        _ if free.contains(&field) && !identity.contains(&field) => None,
        _ => Some(Lock::Identity),
    }
}

/// Whether a part may hold an address or a text that names somebody. Anything might that is not known.
pub fn may_name_a_person(kind: FactKind, path: &str) -> bool {
    let Some(field) = field(path) else { return !FREE.contains(&path) && !IDENTITY.contains(&path) };
    let Fields { identity, money, free, person } = kind.fields();
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

    /// What the facts themselves say they consist of: a field that is added and that nobody has thought of shows here.
    #[test]
    fn every_field_of_every_fact_stands_in_one_list() {
        for kind in FactKind::ALL {
            let data: Value = serde_json::from_str(kind.example()).unwrap();
            let body = json!({ "specversion": "1.0", "type": kind.as_str(), "source": "s", "id": "1", "data": data });
            let envelope = Envelope::parse(&body.to_string(), OffsetDateTime::UNIX_EPOCH).unwrap();
            let canonical: Value = serde_json::from_str(envelope.fact.canonical().get()).unwrap();
            let own: BTreeSet<&str> = canonical.as_object().unwrap().keys().map(String::as_str).collect();
            let Fields { identity, money, free, person } = kind.fields();
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
