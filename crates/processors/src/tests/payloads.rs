//! Every payload and its translation, whole: `payloads/<processor>/<name>.json` and `<name>.facts.snap`.
//! `INSTA_UPDATE=always` writes them anew; read the difference before committing it.

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
    let mut beside_the_payload = insta::Settings::clone_current();
    beside_the_payload.set_snapshot_path(path.parent().unwrap());
    beside_the_payload.set_prepend_module_to_snapshot(false);
    beside_the_payload.set_omit_expression(true);
    beside_the_payload.bind(|| {
        insta::assert_snapshot!(format!("{name}.facts"), serde_json::to_string_pretty(&facts).unwrap());
    });
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
