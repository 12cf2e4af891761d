//! Every payload and its translation, whole: `payloads/<processor>/<name>.json` and `<name>.facts.json`.
//! `REWRITE_SNAPSHOTS=1` writes them anew; read the difference before committing it.

use super::*;
use crate::ALL;

#[test]
fn every_payload_has_its_translation() {
    for processor in ALL {
        let payloads = payloads(processor.name);
        assert!(payloads.len() >= 3, "{}", processor.name);
        for (name, path) in payloads {
            check(processor.name, &name, &path);
        }
    }
}

fn check(processor: &str, name: &str, path: &Path) {
    let body = std::fs::read(path).unwrap();
    let mut envelopes = translate(processor, &Settings::default(), &body).unwrap();
    check_envelopes(&envelopes, &envelopes[0].cause.id, &body);
    envelopes[0].raw = None;
    let facts: Vec<Value> =
        envelopes.iter().map(|envelope| serde_json::from_str(&envelope.to_json()).unwrap()).collect();
    let got = format!("{}\n", serde_json::to_string_pretty(&facts).unwrap());
    let snapshot = path.with_extension("facts.json");
    if std::env::var_os("REWRITE_SNAPSHOTS").is_some() {
        std::fs::write(&snapshot, &got).unwrap();
    }
    let expect = std::fs::read_to_string(&snapshot).unwrap_or_default();
    assert_eq!(got, expect, "{processor}/{name}: the translation is not {}", snapshot.display());
}

#[test]
fn a_repeated_translation_is_the_same() {
    for processor in ALL {
        for (name, path) in payloads(processor.name) {
            let body = std::fs::read(path).unwrap();
            let read = || translate(processor.name, &Settings::default(), &body);
            assert_eq!(read(), read(), "{}/{name}", processor.name);
        }
    }
}
