//! Bodies as such: what is refused, and what never is.

use super::*;

fn check(processor: &str, body: &[u8], expect: &str) {
    let refused = translate(processor, &Settings::default(), body).unwrap_err();
    assert!(refused.starts_with(expect), "{processor}: {refused}\ninstead of\n{expect}");
}

#[test]
fn what_cannot_be_told_apart_is_refused() {
    for processor in ["paddle", "stripe"] {
        check(processor, b"", "body: expected a JSON object");
        check(processor, b"[1,2]", "body: expected a JSON object");
        check(processor, b"{\"id\":", "body: expected a JSON object, got an error at line 1");
        check(processor, b"\xff{}", "body: expected a JSON object");
    }
    check("paddle", br#"{"event_type":"transaction.paid"}"#, "event_id: expected an event id");
    check("paddle", br#"{"event_id":7,"event_type":"transaction.paid"}"#, "event_id: expected an event id");
    check("paddle", br#"{"event_id":"","event_type":"transaction.paid"}"#, "event_id: expected an event id");
    check(
        "paddle",
        br#"{"event_id":"a\nb","event_type":"transaction.paid"}"#,
        "event_id: expected an event id",
    );
    check("paddle", br#"{"event_id":"evt_1"}"#, "event_type: expected the event's type");
    check("stripe", br#"{"id":"evt_1","type":{}}"#, "type: expected the event's type");
    let long = format!(r#"{{"id":"{}","type":"charge.succeeded"}}"#, "e".repeat(201));
    check("stripe", long.as_bytes(), "id: expected an event id");
}

#[test]
fn nothing_beneath_a_readable_event_can_refuse_it() {
    let check = |members: &str, expect: &str| {
        let body = format!(r#"{{"event_id":"evt_1","event_type":"transaction.paid",{members}}}"#);
        assert_eq!(in_words(&translate("paddle", &Settings::default(), body.as_bytes()).unwrap()), expect);
    };
    let at = r#""occurred_at":"2026-11-20T10:00:00Z""#;
    let unreadable = "Malformed data.status: expected paid or completed, got none";
    check(&format!("{at},\"data\":{}{}", "[".repeat(10_000), "]".repeat(10_000)), unreadable);
    check(&format!("{at},\"data\":1e999"), unreadable);
    check(&format!("{at},\"data\":\"\\ud800\""), unreadable);
    check(r#""data":{}"#, "Malformed occurred_at: expected a time by RFC 3339, got none");
}

/// Which of the two is meant nobody can tell. What nobody reads may be given as often as it likes.
#[test]
fn a_field_that_is_read_is_given_once() {
    let twice = |place: &str, member: &str| {
        let body = text("paddle", "transaction.completed").replacen(place, &format!("{member}{place}"), 1);
        match translate("paddle", &Settings::default(), body.as_bytes()) {
            Ok(envelopes) => in_words(&envelopes),
            Err(refused) => format!("refused {refused}"),
        }
    };
    let check = |place: &str, member: &str, expect: &str| {
        let told = twice(place, member);
        assert!(told.starts_with(expect), "{member}: {told}");
    };
    check("\"event_id\"", r#""event_id":"evt_2","#, "refused event_id: expected an event id");
    check("\"event_type\"", r#""event_\u0074ype":"x","#, "refused event_type: expected the event's type");
    check("\"data\"", r#""data":{},"#, "Malformed data.status: expected paid or completed, got it twice");
    check("\"occurred_at\"", r#""occurred_at":"","#, "Malformed occurred_at");
    check("\"status\": \"completed\"", r#""status":"draft","#, "Malformed data.status");
    check("\"origin\"", r#""origin":"web","#, "Malformed data.origin: expected a word, got it twice");
    check("\"notification_id\"", r#""notification_id":"ntf_2","#, "payment 10.00 USD");
    check("\"invoice_id\"", r#""invoice_id":1e400,"invoice_id":[],"#, "payment 10.00 USD");
}

/// What a buyer's browser, another version of an interface or a careless library may put beside what is read.
#[test]
fn what_stands_beside_a_purchase_never_decides() {
    let check = |processor: &str, name: &str, before: &str, junk: &[u8]| {
        let plain = text(processor, name);
        let (head, tail) = plain.split_once(before).unwrap();
        let body = [head.as_bytes(), before.as_bytes(), b"\"beside\":", junk, b",", tail.as_bytes()].concat();
        let facts = |body: &[u8]| -> Vec<Fact> {
            let envelopes = translate(processor, &Settings::default(), body).unwrap();
            envelopes.into_iter().map(|envelope| envelope.fact).collect()
        };
        let told = facts(&body);
        assert!(matches!(told[0], Fact::Payment(_)), "{}", String::from_utf8_lossy(junk));
        assert_eq!(told, facts(plain.as_bytes()), "{}", String::from_utf8_lossy(junk));
    };
    let nested = format!("{}1{}", "{\"a\":[".repeat(200), "]}".repeat(200));
    let junk: [&[u8]; 11] = [
        b"1e400",
        b"-1E+999999999999",
        br#""\ud800""#,
        br#"{"\udfff":"\ud83d"}"#,
        br#"{"$serde_json::private::RawValue":1}"#,
        br#"{"$serde_json::private::Number":"1","$serde_json::private::Number":2}"#,
        b"\"\xc3\x28\"",
        b"\"raw \n\t\x01 controls\"",
        b"NaN",
        b"[{\"a\":1,\"a\":2}]",
        nested.as_bytes(),
    ];
    for junk in junk {
        for before in
            ["{\n  \"event_id\"", "\"custom_data\": {", "\"details\": {", "\"line_items\": [\n        {"]
        {
            let before = before.strip_suffix("\"event_id\"").unwrap_or(before);
            check("paddle", "transaction.completed", before, junk);
        }
        for before in ["{", "\"metadata\": {", "\"object\": {", "\"total_details\": {"] {
            check("stripe", "checkout.session.completed", before, junk);
        }
    }
}

#[test]
fn a_mark_before_the_text_says_nothing() {
    let body = format!("\u{feff}{}", text("paddle", "transaction.completed"));
    let told = in_words(&translate("paddle", &Settings::default(), body.as_bytes()).unwrap());
    assert_eq!(told, "payment 10.00 USD");
}

fn text(processor: &str, name: &str) -> String {
    let (_, path) = payloads(processor).into_iter().find(|(other, _)| other == name).unwrap();
    std::fs::read_to_string(path).unwrap()
}
