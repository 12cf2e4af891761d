//! What every processor must hold: who is refused, what each payload says, and that nothing it is sent can stop it.

mod arbitrary;
mod beside;
mod fixtures;
mod odd;
mod payloads;
mod rules;
mod signatures;

use crate::{Mode, Settings, find};
use domain::fact::{PaymentStatus, Unrecognised};
use domain::{Envelope, Fact};
use serde_json::Value;
use std::path::{Path, PathBuf};
use time::OffsetDateTime;
use time::macros::datetime;

const ARRIVAL: OffsetDateTime = datetime!(2026-11-22 12:30:00 UTC);

fn in_mode(mode: Mode) -> Settings {
    Settings { mode, ..Settings::default() }
}

/// The payloads of one processor: the name of each, and its text.
fn payloads(processor: &str) -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("payloads").join(processor);
    json_files(&folder).expect("the payloads stand beside the source")
}

/// Each JSON file of a folder with its name, in order of names; nothing where there is no such folder.
fn json_files(folder: &Path) -> Option<Vec<(String, PathBuf)>> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut files: Vec<(String, PathBuf)> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path))
        .collect();
    files.sort();
    Some(files)
}

fn payload(processor: &str, name: &str) -> Value {
    let (_, path) = payloads(processor).into_iter().find(|(other, _)| other == name).unwrap();
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Translates as the ingester does, or says why it was refused.
fn translate(processor: &str, settings: &Settings, body: &[u8]) -> Result<Vec<Envelope>, String> {
    (find(processor).unwrap().translate)(settings, body, ARRIVAL).map_err(|malformed| malformed.to_string())
}

/// The facts of a delivery in a few words, for tables.
fn in_words(envelopes: &[Envelope]) -> String {
    let facts: Vec<String> = envelopes.iter().map(|envelope| fact_in_words(&envelope.fact)).collect();
    facts.join(", ")
}

/// Facts are told whole; of what is set aside or refused the beginning is enough.
fn is_told(told: &str, expect: &str) -> bool {
    let is_fact = told.starts_with(char::is_lowercase) && !told.starts_with("refused");
    if is_fact { told == expect } else { told.starts_with(expect) }
}

fn fact_in_words(fact: &Fact) -> String {
    match fact {
        Fact::Payment(payment) => match payment.status {
            PaymentStatus::Paid => format!("payment {}", payment.amount),
            PaymentStatus::Pending => format!("payment pending {}", payment.amount),
            PaymentStatus::Failed => format!("payment failed {}", payment.amount),
        },
        Fact::Movement(movement) => {
            format!("{:?} {:?} {}", movement.kind, movement.status, movement.amount).to_lowercase()
        }
        Fact::Dispute(dispute) => format!("dispute {:?}", dispute.status).to_lowercase(),
        Fact::Customer(customer) => customer
            .account
            .as_ref()
            .map_or("customer".to_owned(), |link| format!("customer of {}", link.account)),
        Fact::Unrecognised(Unrecognised { why, detail: None, .. }) => format!("{why:?}"),
        Fact::Unrecognised(Unrecognised { why, detail: Some(detail), .. }) => format!("{why:?} {detail}"),
        Fact::Usage(_)
        | Fact::Grant(_)
        | Fact::Hold(_)
        | Fact::RefundRequest(_)
        | Fact::Adjustment(_)
        | Fact::Assignment(_)
        | Fact::Valuation(_)
        | Fact::Expiry(_)
        | Fact::Restriction(_) => {
            panic!("no processor tells of {}", fact.kind())
        }
    }
}

/// What holds of every translation: the primary fact first, with the event's id and the body; ids that are keys; and
/// the gate can read all of it.
fn check_envelopes(envelopes: &[Envelope], event_id: &str, body: &[u8]) {
    assert_eq!(envelopes[0].cause.id, event_id);
    assert_eq!(envelopes[0].raw.as_ref().unwrap().body, body);
    assert!(envelopes[1..].iter().all(|envelope| envelope.raw.is_none()));
    let ids: std::collections::BTreeSet<_> = envelopes.iter().map(|envelope| &envelope.cause).collect();
    assert_eq!(ids.len(), envelopes.len(), "ids are unique");
    for envelope in envelopes {
        let read = Envelope::parse(&envelope.to_json(), ARRIVAL).unwrap();
        assert_eq!(&read, envelope);
        assert!(!envelope.to_json().contains(r"\u0000"), "Postgres keeps no NUL");
    }
}
