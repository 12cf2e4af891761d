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
    let check = |data: &str, expect: &str| {
        let body = format!(r#"{{"event_id":"evt_1","event_type":"transaction.paid","data":{data}}}"#);
        assert_eq!(in_words(&translate("paddle", &Settings::default(), body.as_bytes()).unwrap()), expect);
    };
    let unreadable = "Malformed data: expected an object, got something unreadable";
    check(&format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)), unreadable);
    check("1e999", unreadable);
    check(
        r#"{"status":"paid","status":"draft"}"#,
        "Malformed occurred_at: expected a time by RFC 3339, got none",
    );
}
