//! What is digested, what is removed, and what stays.

use super::*;
use domain::fact::{FactKind, Usage};
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

const KEY: &str = "a key of this deployment, 32 bytes and more";

// Computed with Python's `hmac`, over `ip\0192.0.2.1`, `ip\02001:db8::1` and `device\0fp-7`.
const IP: &str = "hmac-sha256:37b8ab8684cc3ea131c5cc1dd8892496d13d29ad1d4bba9d5c87ebda6ee5a7dd";
const V6: &str = "hmac-sha256:a7532e6ce5bd5e9b44177f36c32a34aeddd7e5ebcb274b9c7aef2118168e14c9";
const DEVICE: &str = "hmac-sha256:ec80d0b7a50869d3c8b8bed9499a07740dd6d9edb6a75d6d687bdc9a34d0510d";

fn with_key() -> Origins {
    Origins::new(&PrivacySettings { digest_key: Some(Masked::new(KEY)) })
}

fn keyless() -> Origins {
    Origins::default()
}

#[test]
fn one_address_has_one_digest_however_it_is_spelled() {
    let check = |text: &str, expect: Option<&str>| {
        assert_eq!(with_key().ip(text).as_deref(), expect, "{text:?}");
    };
    check("192.0.2.1", Some(IP));
    check("::ffff:192.0.2.1", Some(IP));
    check("::FFFF:c000:201", Some(IP));
    check("2001:db8::1", Some(V6));
    check("2001:0DB8:0:0:0:0:0:1", Some(V6));
    check(IP, Some(IP));
    check(&IP.to_uppercase().replace("HMAC-SHA256", "hmac-sha256"), Some(IP));
    for none in [
        "",
        " 192.0.2.1",
        "192.0.2",
        "192.0.2.1:80",
        "[2001:db8::1]",
        "fe80::1%eth0",
        "localhost",
        "hmac-sha256:7",
    ] {
        check(none, None);
    }
}

#[test]
fn a_device_is_what_the_platform_calls_it() {
    let check = |text: &str, expect: bool| {
        assert_eq!(with_key().device(text).is_some(), expect, "{text:?}");
    };
    assert_eq!(with_key().device("fp-7").as_deref(), Some(DEVICE));
    assert_ne!(with_key().device("192.0.2.1").as_deref(), Some(IP), "an address is no device");
    check("a tablet, née 7", true);
    check(&"ü".repeat(200), true);
    check(&"ü".repeat(201), false);
    check("", false);
    check("  ", false);
    check("a\nb", false);
    check("a\0b", false);
    check("hmac-sha256:7", false);
}

#[test]
fn another_key_makes_another_digest_and_no_key_makes_none() {
    let other = Origins::new(&PrivacySettings {
        digest_key: Some(Masked::new("another key, which is as long as that")),
    });
    assert!(other.ip("192.0.2.1").is_some_and(|digest| digest != IP));
    assert_eq!(keyless().ip("192.0.2.1"), None);
    assert_eq!(keyless().ip(IP).as_deref(), Some(IP), "a digest needs no key");
}

#[test]
fn a_key_is_long_enough_and_shown_by_nothing() {
    let settings = |key: &str| PrivacySettings { digest_key: Some(Masked::new(key)) };
    let hush = "hush".repeat(8);
    settings(&hush).check().unwrap();
    PrivacySettings::default().check().unwrap();
    for short in ["", "hush", &hush[1..], &format!("{}  ", &hush[2..])] {
        let why = settings(short).check().unwrap_err().to_string();
        assert!(
            why.starts_with("privacy.digest_key: expected at least 32 bytes, got ") && !why.contains("hush"),
            "{why}"
        );
        assert!(Origins::new(&settings(short)).ip("192.0.2.1").is_none(), "{short:?}");
    }
    let shown = format!("{:?} {:?}", settings(&hush), Origins::new(&settings(&hush)));
    assert!(!shown.contains("hush"), "{shown}");
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn messages_hold_digests_and_the_rest_stays_to_the_byte() {
    let check = |message: &str, with: &str, without: &str| {
        assert_eq!(text(&with_key().sealed(message.as_bytes())), with, "with a key: {message}");
        assert_eq!(text(&keyless().sealed(message.as_bytes())), without, "without one: {message}");
    };
    let stays = |message: &str| {
        check(message, message, message);
        assert!(matches!(with_key().sealed(message.as_bytes()), Cow::Borrowed(_)), "{message}");
    };
    let removed = |message: &str, expect: &str| check(message, expect, expect);
    check(
        r#"{ "data": {"credits": "1.50" , "ip" : "192.0.2.1","device":"fp-7"} }"#,
        &format!(r#"{{ "data": {{"credits": "1.50" , "ip" : "{IP}","device":"{DEVICE}"}} }}"#),
        r#"{ "data": {"credits": "1.50" , "ip" : "[removed]","device":"[removed]"} }"#,
    );
    check(
        r#"[{"\u0069p":"192.0.2.1"},{"IP":"192.0.2\u002e1"}]"#,
        &format!(r#"[{{"\u0069p":"{IP}"}},{{"IP":"{IP}"}}]"#),
        r#"[{"\u0069p":"[removed]"},{"IP":"[removed]"}]"#,
    );
    removed(r#"{"ip":3221225985,"device":true}"#, r#"{"ip":"[removed]","device":"[removed]"}"#);
    removed(
        r#"{"ip":["192.0.2.1",{"a":"]}"}],"device":{"id":"\"}"},"b":1}"#,
        r#"{"ip":"[removed]","device":"[removed]","b":1}"#,
    );
    removed(r#"{"ip":"nowhere","ip":""}"#, r#"{"ip":"[removed]","ip":"[removed]"}"#);
    removed(r#"{"ip":"[removed]"}"#, r#"{"ip":null}"#);
    // Cut off, or written wrong: it is kept, so it is read.
    removed(r#"{"ip":"203.0.113"#, r#"{"ip":"[removed]""#);
    removed(r#"{"ip":[1,2"#, r#"{"ip":"[removed]""#);
    removed(r#"{"ip":"#, r#"{"ip":"#);
    removed(r#"{"a" "ip":"203.0.113.x,"device":"","b"#, r#"{"a" "ip":"[removed]"device":"[removed]","b"#);
    for message in [
        "",
        "nonsense",
        r#"{"ip":null,"device":"[erased]"}"#,
        &format!(r#"{{"ip":"{IP}"}}"#),
        r#"{"description":"he said \"ip\": \"192.0.2.1\""}"#,
        r#"{"type":"ip","kind":"device"}"#,
        r#"{"zip":"192.0.2.1","ips":"192.0.2.1","i":1}"#,
        "\"ip\"",
        "\"",
        "\"\\",
    ] {
        stays(message);
    }
    let bytes = [b"\xff{\"ip\":\"192.0.2.1\"}".as_slice(), b"\"ip\":\"\xff\""].concat();
    let expect = [format!(r#"{{"ip":"{IP}"}}"#).as_bytes(), b"\"ip\":\"[removed]\""].concat();
    assert_eq!(with_key().sealed(&bytes)[1..], expect, "also in what is no text");
}

#[test]
fn what_nobody_could_read_is_kept_without_addresses() {
    let check =
        |message: &str, expect: &str| assert_eq!(text(&Origins::without_raw(message.as_bytes())), expect);
    let digests = format!(r#"{{"ip":"{IP}","device":"[removed]","data":{{"device":"[erased]"}}}}"#);
    check(&digests, &digests);
    check(r#"{"ip":"192.0.2.1","device":7,"b":[1]}"#, r#"{"ip":"[removed]","device":"[removed]","b":[1]}"#);
}

fn is_place(name: &str) -> bool {
    Place::named(name).is_some()
}

/// The same document, without what stands in those places.
fn removed_by_hand(document: &Value) -> Value {
    match document {
        Value::Array(list) => list.iter().map(removed_by_hand).collect(),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| {
                let value = match value {
                    Value::Null => Value::Null,
                    _ if is_place(name) => json!(REMOVED),
                    value => removed_by_hand(value),
                };
                (name.clone(), value)
            });
            Value::Object(members.collect())
        }
        other => other.clone(),
    }
}

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        Just(json!("192.0.2.1")),
        "[ -~]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let name = prop_oneof![Just("ip".to_owned()), Just("Device".to_owned()), "[ -~]{0,6}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..5)
                .prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

proptest! {
    #[test]
    fn in_every_document_those_members_and_nothing_else_are_replaced(document in documents()) {
        for message in [document.to_string(), serde_json::to_string_pretty(&document).unwrap()] {
            let kept = Origins::without_raw(message.as_bytes());
            let read: Value = serde_json::from_slice(&kept).unwrap();
            prop_assert_eq!(read, removed_by_hand(&document), "{}", message);
        }
    }

    /// Cut off, put together at random: it is read to its end, and what is seen under a name is gone.
    #[test]
    fn no_message_keeps_an_address_under_its_name(pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..14)) {
        let message = pieces.concat();
        let kept = Origins::without_raw(message.as_bytes());
        for name in ["\"ip\":\"192.0.2.1", "\"device\":\"192.0.2.1", "\"ip\":192.0.2.1"] {
            prop_assert!(!text(&kept).contains(name), "{} {}", message, text(&kept));
        }
    }
}

const PIECES: [&str; 15] = [
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    " ",
    "\"ip\":",
    "\"device\":",
    "\"192.0.2.1\"",
    "192.0.2.1",
    "null",
    "a",
];

#[test]
fn what_had_to_be_removed_is_refused_with_what_to_do() {
    let used = |field: &str| {
        let data = format!(r#"{{"account":"a","credits":"1","{field}":"[removed]"}}"#);
        let fact = Fact::parse(FactKind::Usage, &RawValue::from_string(data).unwrap()).unwrap();
        assert!(matches!(fact, Fact::Usage(Usage { .. })));
        fact
    };
    let check = |origins: Origins, field: &str, expect: &[&str]| {
        let why = origins.check(&used(field)).unwrap_err();
        assert!(expect.iter().all(|part| why.contains(part)), "{why}");
    };
    check(with_key(), "ip", &["data.ip: expected an IPv4 or IPv6 address, or a digest as hmac-sha256:<64"]);
    check(with_key(), "device", &["data.device: expected 1 to 200 printable characters"]);
    check(
        keyless(),
        "ip",
        &["data.ip: expected a digest", "privacy.digest_key (BURSAR_DIGEST_KEY), or send the digest"],
    );
    with_key().check(&used("colour")).unwrap();
}
