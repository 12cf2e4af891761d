//! Whatever comes: nothing panics, no header lets a stranger in, and no event that says which it is gets refused.

use super::*;
use crate::ALL;
use proptest::collection::{hash_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use secrecy::SecretString;
use std::sync::LazyLock;

/// Every payload there is, with its processor.
pub static PAYLOADS: LazyLock<Vec<(&'static str, Value)>> = LazyLock::new(|| {
    let of = |name: &'static str| payloads(name).into_iter().map(move |(_, path)| (name, path));
    let files = ALL.into_iter().flat_map(|processor| of(processor.name));
    files.map(|(name, path)| (name, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())).collect()
});

/// Values that have been wrong somewhere: other types, other units, the limits of numbers, texts that no key may hold.
fn leaf() -> impl Strategy<Value = Value> {
    let texts = select(vec![
        "",
        "0",
        "-1",
        "10.00",
        "1e9",
        "9007199254740993",
        "99999999999999999999999999999999999999999",
        "usd",
        "XXX",
        "paid",
        "won",
        "full",
        "2026-11-20T10:00:00.123456789Z",
        "0000-01-01T00:00:00+23:59",
        "a b",
        "\u{0}",
        "é",
    ]);
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        texts.prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "[a-z_]{190,210}".prop_map(Value::from),
    ]
}

fn json() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            hash_map("(id|type|event_id|event_type|data|object|status|[a-z]{1,4})", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A payload with up to four of its fields removed or replaced.
pub fn mutated() -> impl Strategy<Value = (&'static str, Value)> {
    let mutation = (any::<Index>(), proptest::option::of(json()));
    (any::<Index>(), vec(mutation, 1..=4)).prop_map(|(which, mutations)| {
        let (processor, mut payload) = which.get(&PAYLOADS).clone();
        for (place, value) in mutations {
            let mut pointers = Vec::new();
            collect_pointers(&payload, String::new(), &mut pointers);
            if !pointers.is_empty() {
                mutate(&mut payload, place.get::<String>(&pointers), value);
            }
        }
        (processor, payload)
    })
}

fn collect_pointers(value: &Value, here: String, pointers: &mut Vec<String>) {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(elements) => {
            elements.iter().enumerate().map(|(i, value)| (i.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    for (name, value) in members {
        let pointer = format!("{here}/{}", name.replace('~', "~0").replace('/', "~1"));
        pointers.push(pointer.clone());
        collect_pointers(value, pointer, pointers);
    }
}

fn mutate(payload: &mut Value, pointer: &str, value: Option<Value>) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match (payload.pointer_mut(parent), value) {
        (Some(Value::Object(members)), None) => drop(members.remove(name)),
        (Some(parent), Some(value)) => match parent {
            Value::Object(members) => drop(members.insert(name.to_owned(), value)),
            Value::Array(elements) => elements[name.parse::<usize>().unwrap()] = value,
            _ => unreachable!("a pointer's parent holds its members"),
        },
        _ => {}
    }
}

/// The event's own id, where both it and the type can be read.
fn readable_id<'a>(processor: &str, event: &'a Value) -> Option<&'a str> {
    let (id, event_type) = match processor {
        "paddle" => ("event_id", "event_type"),
        "stripe" => ("id", "type"),
        _ => return None,
    };
    let is_id = |id: &&str| (1..=200).contains(&id.len()) && !id.chars().any(char::is_control);
    event.get(event_type)?.as_str().filter(|text| !text.is_empty())?;
    event.get(id)?.as_str().filter(is_id)
}

fn check(processor: &str, event: &Value) {
    let body = serde_json::to_vec(event).unwrap();
    for settings in [in_mode(Mode::Live), in_mode(Mode::Test)] {
        let translated = translate(processor, &settings, &body);
        match readable_id(processor, event) {
            Some(id) => check_envelopes(&translated.unwrap(), id, &body),
            None => assert!(processor == "generic" || translated.is_err()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_event_that_says_which_it_is_is_never_refused((processor, event) in mutated()) {
        check(processor, &event);
    }

    #[test]
    fn any_json_is_translated_or_refused(value in json()) {
        for processor in ALL {
            check(processor.name, &value);
        }
    }

    #[test]
    fn any_bytes_are_translated_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        for processor in ALL {
            let _ = translate(processor.name, &Settings::default(), &bytes);
            let _ = (processor.sign)(&SecretString::from("secret"), &bytes, ARRIVAL);
        }
    }

    #[test]
    fn no_header_lets_a_stranger_in(
        header in prop_oneof![".{0,200}", "(ts?=[0-9]{0,12}|h1=[0-9a-f]{64}|v[01][=,][0-9a-zA-Z+/=]{0,64}|[;, =]){0,8}"],
        at in 0i64..4_000_000_000,
    ) {
        let at = OffsetDateTime::from_unix_timestamp(at).unwrap();
        for processor in ALL {
            let verify = |text: &str| {
                (processor.verify)(&|_| Some(text.to_owned()), b"{}", &[SecretString::from("secret")], at)
            };
            prop_assert!(verify(&header).is_err());
        }
    }
}
