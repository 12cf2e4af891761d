//! A message's body as JSON that parts can be set in, and what differs between two of them.

use anyhow::{Result, bail};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::map::Entry;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One part that is another now. Nothing where it was not there, or is not any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// In dots: `data.account`, `data.items.0.price`. Empty: the body as a whole.
    pub path: String,
    pub from: Value,
    pub to: Value,
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "the whole body" } else { &self.path };
        write!(f, "{path}: {} -> {}", self.from, self.to)
    }
}

/// JSON whose keys are each there once. Of two values under one key it would depend on the reader which one counts.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = sequence.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let Strict(value) = map.next_value()?;
            match values.entry(key) {
                Entry::Vacant(entry) => drop(entry.insert(value)),
                Entry::Occupied(entry) => {
                    return Err(A::Error::custom(format!("the key {:?} twice", entry.key())));
                }
            }
        }
        Ok(values.into())
    }
}

pub fn parse(body: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice::<Strict>(body).map(|Strict(value)| value)
}

/// What stands after `=` on the command line: JSON where it is that, else text.
pub fn value(text: &str) -> Value {
    parse(text.as_bytes()).unwrap_or_else(|_| text.into())
}

/// Sets a part; what leads to it is made where it is missing. In a list the next place after its end may be set.
pub fn set(document: &mut Value, path: &str, value: Value) -> Result<()> {
    let mut place = document;
    for step in steps(path)? {
        if place.is_null() {
            *place = Map::new().into();
        }
        place = match place {
            Value::Object(map) => map.entry(step).or_insert(Value::Null),
            Value::Array(list) => {
                let index = index(step, path, list.len())?;
                if index == list.len() {
                    list.push(Value::Null);
                }
                &mut list[index]
            }
            _ => bail!("{path}: expected an object or a list above {step:?}, found {place}"),
        };
    }
    *place = value;
    Ok(())
}

pub fn unset(document: &mut Value, path: &str) -> Result<()> {
    let steps = steps(path)?;
    let (last, above) = steps.split_last().unwrap_or((&"", &[]));
    let mut place = Some(document);
    for step in above {
        place = place.and_then(|place| match place {
            Value::Object(map) => map.get_mut(*step),
            Value::Array(list) => list.get_mut(step.parse::<usize>().ok()?),
            _ => None,
        });
    }
    let gone = match place {
        Some(Value::Object(map)) => map.remove(*last),
        Some(Value::Array(list)) => {
            let index = last.parse().ok().filter(|index| *index < list.len());
            index.map(|index: usize| list.remove(index))
        }
        _ => None,
    };
    match gone {
        Some(_) => Ok(()),
        None => bail!("{path}: expected a part that is there to take it out, found none"),
    }
}

fn steps(path: &str) -> Result<Vec<&str>> {
    let steps: Vec<&str> = path.split('.').collect();
    if steps.contains(&"") {
        bail!("expected a path in dots such as data.account, got {path:?}");
    }
    Ok(steps)
}

fn index(step: &str, path: &str, length: usize) -> Result<usize> {
    match step.parse() {
        Ok(index) if index <= length => Ok(index),
        Ok(_) | Err(_) => bail!("{path}: expected a place in a list, 0 to {length}, got {step:?}"),
    }
}

/// Every part by its path; a container that holds nothing is a part, too.
pub fn parts(document: &Value) -> BTreeMap<String, Value> {
    let mut parts = BTreeMap::new();
    collect(String::new(), document, &mut parts);
    parts
}

fn collect(path: String, value: &Value, parts: &mut BTreeMap<String, Value>) {
    let below = |step: &str| match path.is_empty() {
        true => step.to_owned(),
        false => format!("{path}.{step}"),
    };
    match value {
        Value::Object(map) if !map.is_empty() => {
            map.iter().for_each(|(key, value)| collect(below(&spelled(key)), value, parts));
        }
        Value::Array(list) if !list.is_empty() => {
            list.iter()
                .enumerate()
                .for_each(|(place, value)| collect(below(&place.to_string()), value, parts));
        }
        _ => drop(parts.insert(path, value.clone())),
    }
}

/// A key as it stands in a path: one with a dot of its own is none of a fact's, and must not look like a path.
fn spelled(key: &str) -> String {
    match key.is_empty() || key.contains(['.', '"']) {
        true => format!("{key:?}"),
        false => key.to_owned(),
    }
}

/// What differs, by path.
pub fn diff(from: &BTreeMap<String, Value>, to: &BTreeMap<String, Value>) -> Vec<FieldChange> {
    let paths: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let of = |parts: &BTreeMap<String, Value>, path| parts.get(path).cloned().unwrap_or(Value::Null);
    paths
        .into_iter()
        .filter(|path| from.get(*path) != to.get(*path))
        .map(|path| FieldChange { path: path.clone(), from: of(from, path), to: of(to, path) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parts_are_set_and_taken_out_by_their_paths() {
        let check = |path: &str, to: &str, expect: Value| {
            let mut document = json!({ "id": "1", "data": { "items": [{ "price": "p" }], "reason": null } });
            set(&mut document, path, value(to)).unwrap();
            assert_eq!(document.pointer(&format!("/{}", path.replace('.', "/"))), Some(&expect), "{path}");
        };
        check("id", "two words", json!("two words"));
        check("data.reason", "{\"a\":1}", json!({ "a": 1 }));
        check("data.items.0.price", "\"1\"", json!("1"));
        check("data.items.1.price", "q", json!("q"));
        check("data.amount.currency", "USD", json!("USD"));
        check("data.full", "true", json!(true));

        let mut document = json!({ "a": { "b": [1, 2] } });
        for wrong in ["", "a.", "a.b.3", "a.b.x", "a.b.0.c"] {
            assert!(set(&mut document, wrong, Value::Null).is_err(), "{wrong:?}");
        }
        unset(&mut document, "a.b.0").unwrap();
        assert_eq!(document, json!({ "a": { "b": [2] } }));
        for wrong in ["a.b.1", "b", "a.b.0.c", ""] {
            assert!(unset(&mut document, wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_difference_is_told_part_by_part() {
        let check = |from: Value, to: Value, expect: &[&str]| {
            let changes: Vec<String> =
                diff(&parts(&from), &parts(&to)).iter().map(FieldChange::to_string).collect();
            assert_eq!(changes, expect);
        };
        check(json!({ "a": 1, "b": [1, 2] }), json!({ "b": [1, 2], "a": 1 }), &[]);
        check(
            json!({ "a": { "b": 1 } }),
            json!({ "a": { "b": "1", "c": 2 } }),
            &["a.b: 1 -> \"1\"", "a.c: null -> 2"],
        );
        check(json!({ "a": "text" }), json!({ "a": { "b": 1 } }), &["a: \"text\" -> null", "a.b: null -> 1"]);
        check(json!({ "a": { "b": 1 } }), json!({ "a.b": 1 }), &["\"a.b\": null -> 1", "a.b: 1 -> null"]);
        check(json!("text"), json!({ "a": {} }), &["the whole body: \"text\" -> null", "a: null -> {}"]);
    }

    #[test]
    fn json_that_says_two_things_at_once_is_none() {
        assert!(parse(br#"{"a":{"id":1,"id":2}}"#).unwrap_err().to_string().contains("\"id\" twice"));
        let text = r#"{"a":[1,-2,1.5,"x",null,true,{}],"b":{"a":1}}"#;
        assert_eq!(parse(text.as_bytes()).unwrap().to_string(), text);
    }
}
