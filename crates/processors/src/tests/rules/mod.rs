//! The mappings, rule by rule: a payload, what is changed in it, and what it then says.

mod bodies;
mod generic;
mod paddle;
mod stripe;

use super::*;
use domain::fact::LinkProof;
use secrecy::SecretString;
use serde_json::json;

type Changes<'a> = &'a [(&'a str, Value)];

/// Sets what stands at a path such as `data.items.0.quantity`; `Value::Null` is what a removed field reads as too.
fn change(payload: &mut Value, changes: Changes<'_>) {
    for (path, value) in changes {
        let pointer = format!("/{}", path.replace('.', "/"));
        match payload.pointer_mut(&pointer) {
            Some(place) => *place = value.clone(),
            None => {
                let (parent, name) =
                    path.rsplit_once('.').map_or(("", *path), |(parent, name)| (parent, name));
                let parent =
                    if parent.is_empty() { String::new() } else { format!("/{}", parent.replace('.', "/")) };
                payload.pointer_mut(&parent).unwrap()[name] = value.clone();
            }
        }
    }
}

fn changed(processor: &str, name: &str, changes: Changes<'_>) -> Vec<u8> {
    let mut payload = payload(processor, name);
    change(&mut payload, changes);
    serde_json::to_vec(&payload).unwrap()
}

fn check_in(settings: &Settings, processor: &str, name: &str, changes: Changes<'_>, expect: &str) {
    let body = changed(processor, name, changes);
    let got =
        translate(processor, settings, &body).map_or_else(|why| format!("refused {why}"), |e| in_words(&e));
    assert!(is_told(&got, expect), "{processor}/{name} with {changes:?}:\n  {got}\ninstead of\n  {expect}");
}

fn check(processor: &str, name: &str, changes: Changes<'_>, expect: &str) {
    check_in(&Settings::default(), processor, name, changes, expect);
}

fn only_payment(
    settings: &Settings,
    processor: &str,
    name: &str,
    changes: Changes<'_>,
) -> domain::fact::Payment {
    let envelopes = translate(processor, settings, &changed(processor, name, changes)).unwrap();
    match &envelopes[0].fact {
        Fact::Payment(payment) => payment.clone(),
        other => panic!("expected a payment, got {other:?}"),
    }
}

/// Reads where a purchase was made under `ip` and `device`; with a key or without.
fn reading_origins(key: Option<&str>) -> Settings {
    let digest_key = key.map(domain::settings::Masked::new);
    Settings {
        metadata_ip_key: Some("ip".to_owned()),
        metadata_device_key: Some("device".to_owned()),
        origins: crate::Origins::new(&crate::PrivacySettings { digest_key }),
        ..Settings::default()
    }
}

/// What a payment says of where it was made, as its processor carries the platform's own data under `place`.
fn check_origins(processor: &str, name: &str, place: &str) {
    const KEY: &str = "a key of this deployment, 32 bytes and more";
    let read = |settings: &Settings, data: Value| {
        let payment = only_payment(settings, processor, name, &[(place, data)]);
        [payment.ip, payment.device]
    };
    let raw = || json!({ "ip": "::ffff:192.0.2.1", "device": "fp-7" });
    // As in the tests of the digests.
    let ip = "hmac-sha256:37b8ab8684cc3ea131c5cc1dd8892496d13d29ad1d4bba9d5c87ebda6ee5a7dd".to_owned();
    let device = "hmac-sha256:ec80d0b7a50869d3c8b8bed9499a07740dd6d9edb6a75d6d687bdc9a34d0510d".to_owned();
    let with_key = reading_origins(Some(KEY));
    assert_eq!(read(&with_key, raw()), [Some(ip.clone()), Some(device)], "{name}");
    assert_eq!(
        read(&Settings { metadata_device_key: None, ..with_key.clone() }, raw())[1],
        None,
        "{name}: not asked"
    );
    assert_eq!(read(&Settings::default(), raw()), [None, None], "{name}: by default nothing is read");
    assert_eq!(read(&reading_origins(None), raw()), [None, None], "{name}: there is no key");
    let keyless = read(&reading_origins(None), json!({ "ip": ip }));
    assert_eq!(keyless, [Some(ip), None], "{name}: a digest needs none");
    for odd in [
        json!("somewhere"),
        json!(""),
        json!(3_221_225_985_u32),
        json!(["192.0.2.1"]),
        json!({}),
        json!(null),
    ] {
        let got = read(&with_key, json!({ "ip": odd.clone(), "device": json!({ "id": 1 }) }));
        assert_eq!(got, [None, None], "{name}: {odd} is left out, and the purchase counts");
    }
    for nothing in [json!(null), json!([]), json!("ip"), json!({})] {
        assert_eq!(read(&with_key, nothing), [None, None], "{name}");
    }
}
