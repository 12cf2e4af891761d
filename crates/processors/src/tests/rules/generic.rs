//! The facts that an adapter states.

use super::*;

fn check(name: &str, changes: Changes<'_>, expect: &str) {
    super::check("generic", name, changes, expect);
}

#[test]
fn an_adapter_states_facts_of_its_own_payments_only() {
    check("payment_and_movement", &[], "payment 10.00 USD, refund final 4.00 usd");
    check("dispute", &[], "dispute open");
    check("customer", &[], "customer of acct_42");
    let another = "refused event 1: data: expected every payment and customer as generic:<id>";
    check("payment_and_movement", &[("1.data.payment", json!("paddle:txn_1"))], another);
    let another = "refused event 0: data: expected every payment and customer as generic:<id>";
    check("payment_and_movement", &[("0.data.aliases", json!(["generic:a", "stripe:pi_1"]))], another);
    check("payment_and_movement", &[("0.data.customer", json!("stripe:cus_1"))], another);
    check("customer", &[("data.customer", json!("stripe:cus_1"))], another);
    check("dispute", &[("data.payment", json!("stripe:pi_1"))], another);
}

#[test]
fn an_adapter_states_no_other_facts() {
    let refused =
        "refused event 0: type: expected fact.payment, fact.movement, fact.dispute or fact.customer, got";
    let usage = json!({ "account": "acct_42", "credits": "1" });
    check("dispute", &[("type", json!("fact.usage")), ("data", usage)], refused);
    let hold = json!({ "hold": "h", "payment": "generic:1", "amount": { "amount": "1", "currency": "USD" },
        "status": "placed", "occurred_at": "2026-11-20T10:00:00Z" });
    check("dispute", &[("type", json!("fact.hold")), ("data", hold)], refused);
    check("dispute", &[("type", json!("invoice.paid"))], "refused body: expected one of the fact types");
    check("dispute", &[("data.amount.amount", json!("1e3"))], "refused body: expected data of fact.dispute");
    check("payment_and_movement", &[("1", json!({}))], "refused event 1: expected a CloudEvent");
}

#[test]
fn texts_that_become_keys_are_printable_and_short() {
    let refused = "refused event 0: data: expected texts of printable characters";
    check("dispute", &[("data.dispute", json!("a\u{0}b"))], refused);
    check("dispute", &[("data.dispute", json!(""))], refused);
    check("payment_and_movement", &[("0.data.items.0.price", json!("\u{7}"))], refused);
    check("payment_and_movement", &[("0.data.items.0.line", json!(""))], refused);
    let refused_too = "refused event 1: data: expected texts of printable characters";
    let lines = json!([{ "line": "\u{0}", "amount": { "amount": "1.00", "currency": "USD" } }]);
    check("payment_and_movement", &[("1.data.lines", lines)], refused_too);
    check(
        "dispute",
        &[("data.dispute", json!("d".repeat(1001)))],
        "refused event 0: data.dispute: dispute id: expected 1 to 200 characters",
    );
    check(
        "dispute",
        &[("source", json!("s".repeat(193)))],
        "refused event 0: source: expected at most 192 bytes",
    );
    check("dispute", &[("source", json!("s".repeat(192)))], "dispute open");
}

#[test]
fn its_sources_cannot_pass_for_a_processors() {
    let body = changed("generic", "dispute", &[("source", json!("paddle")), ("rawbody", json!("Zm9yZ2Vk"))]);
    let envelopes = translate("generic", &Settings::default(), &body).unwrap();
    assert_eq!(envelopes[0].cause.source, "generic/paddle");
    assert_eq!(envelopes[0].raw.as_ref().unwrap().body, body);
}

#[test]
fn a_body_is_one_event_or_up_to_500() {
    let event = payload("generic", "dispute").to_string();
    let translate =
        |body: &str| (crate::generic::PROCESSOR.translate)(&Settings::default(), body.as_bytes(), ARRIVAL);
    let batch = |count: usize| format!("[{}]", vec![event.as_str(); count].join(","));
    assert_eq!(translate(&batch(500)).unwrap().len(), 500);
    for count in [0, 501] {
        let expect = format!("body: expected 1 to 500 facts in a batch, got {count}");
        assert_eq!(translate(&batch(count)), Err(crate::Malformed(expect)));
    }
    assert!(translate("").is_err());
}

/// An adapter can be mended; its body is kept as it was signed, so it is refused before that.
#[test]
fn an_adapter_sends_digests() {
    let digest = format!("hmac-sha256:{}", "0".repeat(64));
    let check = |ip: &str, expect: &str| check("payment_and_movement", &[("0.data.ip", json!(ip))], expect);
    check("192.0.2.1", "refused event 0: data.ip: expected a digest as hmac-sha256:<64");
    let body = changed("generic", "payment_and_movement", &[("0.data.ip", json!(digest))]);
    let envelopes = translate("generic", &Settings::default(), &body).unwrap();
    assert_eq!(envelopes[0].fact.origin(), [Some(digest.as_str()), None]);
}
