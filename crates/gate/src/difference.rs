//! Where two facts of one identity differ, by the names of their fields. What the fields hold is left out: why a message
//! is a dead letter is shown, alerted and kept for longer than what it says of a person.

use serde_json::Value;

/// More fields than this say no more than that it is another fact.
const FIELDS_MAX: usize = 10;

/// The fields that differ, in order: `credits`, `link.account`.
pub(crate) fn fields(admitted: (&str, &str), came: (&str, &str)) -> Vec<String> {
    let mut fields = Vec::new();
    if admitted.0 != came.0 {
        fields.push("type".to_owned());
    }
    let parsed = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
    collect("", &parsed(admitted.1), &parsed(came.1), &mut fields);
    fields
}

/// Fields in a sentence, the first of them by name.
pub(crate) fn named(fields: &[String]) -> String {
    let first = fields.iter().take(FIELDS_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    match fields.len().saturating_sub(FIELDS_MAX) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

fn collect(path: &str, admitted: &Value, came: &Value, fields: &mut Vec<String>) {
    let (Value::Object(before), Value::Object(after)) = (admitted, came) else {
        if admitted != came {
            fields.push(if path.is_empty() { "content".to_owned() } else { path.to_owned() });
        }
        return;
    };
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let of = |fact: &serde_json::Map<String, Value>| fact.get(name).cloned().unwrap_or(Value::Null);
        collect(&path, &of(before), &of(after), fields);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_differ_are_named_and_what_they_hold_is_not() {
        let check = |admitted: &str, came: &str, expect: &str| {
            let fields = fields(("fact.grant", admitted), ("fact.grant", came));
            assert_eq!(named(&fields), expect, "{admitted} {came}");
        };
        check(r#"{"a":"jane","b":1}"#, r#"{"b":2,"a":"joan"}"#, "a, b");
        check(r#"{"a":{"b":1,"c":2}}"#, r#"{"a":{"b":1}}"#, "a.c");
        check(r#"{"a":{"b":1}}"#, r#"{}"#, "a");
        check(r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#, "a");
        check("[]", "{}", "content");
        let many: serde_json::Map<_, _> = (10..23).map(|n| (format!("f{n}"), Value::Null)).collect();
        let other: serde_json::Map<_, _> = (10..23).map(|n| (format!("f{n}"), Value::Bool(true))).collect();
        let (many, other) = (Value::Object(many).to_string(), Value::Object(other).to_string());
        check(&many, &other, "f10, f11, f12, f13, f14, f15, f16, f17, f18, f19 and 3 more");
        assert_eq!(fields(("fact.grant", "{}"), ("fact.usage", "{}")), ["type"]);
    }
}
