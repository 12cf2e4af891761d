//! Payloads that others published: recorded from the processors, or made for their libraries. They are read where they
//! lie beside the workspace (`../shared/fixtures`) and are not part of it; without them these tests say so and pass.

use super::*;
use secrecy::SecretString;
use serde_json::json;
use time::Duration;

fn fixtures(processor: &str) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures").join(processor);
    let Some(files) = json_files(&folder) else {
        println!("skipped: no published payloads in {}", folder.display());
        return Vec::new();
    };
    files
        .into_iter()
        .map(|(name, path)| (name, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()))
        .collect()
}

#[test]
fn published_signatures_are_judged_as_their_own_libraries_do() {
    for processor in ["paddle", "stripe"] {
        for (name, vector) in fixtures(processor) {
            if name.starts_with("sigvector.") {
                check_signature(&name, &vector);
            }
        }
    }
}

fn check_signature(name: &str, vector: &Value) {
    let text = |field: &str| vector[field].as_str().unwrap();
    let processor = find(text("processor")).unwrap();
    let secrets: Vec<SecretString> =
        vector["secrets"].as_array().unwrap().iter().map(|secret| secret.as_str().unwrap().into()).collect();
    let header = text("header_name").to_lowercase();
    let headers = |name: &str| (name == header).then(|| text("header").to_owned());
    let signed_at: String =
        text("header").chars().skip_while(|c| *c != '=').skip(1).take_while(char::is_ascii_digit).collect();
    let signed_at = OffsetDateTime::from_unix_timestamp(signed_at.parse().unwrap()).unwrap();
    let verify =
        |at: OffsetDateTime| (processor.verify)(&headers, text("body").as_bytes(), &secrets, at).is_ok();
    assert_eq!(verify(signed_at), vector["hmac_matches"].as_bool().unwrap(), "{name}");
    assert!(!verify(signed_at + Duration::seconds(301)), "{name}");
}

#[test]
fn published_events_give_the_facts_that_they_tell() {
    for (processor, events_of, table) in
        [("paddle", paddle_events as Events, PADDLE), ("stripe", stripe_events, STRIPE)]
    {
        for (name, fixture) in fixtures(processor) {
            let events = events_of(&name, fixture);
            let told: Vec<String> =
                events.iter().map(|event| in_words(&translate_published(processor, event))).collect();
            match table.iter().find(|(file, _)| *file == name) {
                Some((_, expect)) => check(&name, &told, expect),
                None if told.is_empty() => {}
                None => println!("{processor}/{name} is in no table and tells {told:?}"),
            }
        }
    }
}

fn check(name: &str, told: &[String], expect: &[&str]) {
    assert_eq!(told.len(), expect.len(), "{name}");
    for (told, expect) in told.iter().zip(expect) {
        assert!(is_told(told, expect), "{name}: {told}\ninstead of\n{expect}");
    }
}

type Events = fn(&str, Value) -> Vec<Value>;

/// In the mode that the event is of: nearly all of them were made in test mode.
fn translate_published(processor: &str, event: &Value) -> Vec<Envelope> {
    let mode = if event["livemode"] == json!(true) { Mode::Live } else { Mode::Test };
    let body = serde_json::to_vec(event).unwrap();
    let envelopes = translate(processor, &in_mode(mode), &body).unwrap();
    let id = event.get("event_id").unwrap_or(&event["id"]).as_str().unwrap();
    check_envelopes(&envelopes, id, &body);
    envelopes
}

/// Events stand alone, in lists, or inside of notifications; a bare entity becomes an event of the type in its file's
/// name; requests and errors tell nothing.
fn paddle_events(name: &str, fixture: Value) -> Vec<Value> {
    let wrap = |event_type: &str, data: Value| json!({ "event_id": "evt_1", "event_type": event_type, "occurred_at": "2026-11-20T10:00:00Z", "data": data });
    let (kind, rest) = name.split_once('.').unwrap();
    match kind {
        "event" | "envelope" | "rawbody" => vec![fixture],
        "entity" if rest == "chargeback_warning.bigint" => vec![wrap("adjustment.created", fixture)],
        "entity" => vec![wrap(rest, fixture)],
        "api" => {
            let data = fixture["data"].clone();
            let listed = match data {
                Value::Array(elements) => elements,
                one => vec![one],
            };
            let events = listed.into_iter().filter_map(|element| match &element {
                element if element.get("event_type").is_some() => Some(element.clone()),
                element if element.get("payload").is_some() => Some(element["payload"].clone()),
                element if element.get("action").is_some() => {
                    Some(wrap("adjustment.updated", element.clone()))
                }
                element if element.get("details").is_some() => {
                    Some(wrap("transaction.completed", element.clone()))
                }
                _ => None,
            });
            events.collect()
        }
        _ => Vec::new(),
    }
}

fn stripe_events(name: &str, fixture: Value) -> Vec<Value> {
    let wrap = |event_type: &str| {
        let data = json!({ "object": fixture });
        vec![
            json!({ "id": "evt_1", "type": event_type, "created": 1_795_168_800, "livemode": false, "data": data }),
        ]
    };
    match name.strip_prefix("object.oa.") {
        Some("event") => vec![fixture],
        Some("charge") => wrap("charge.succeeded"),
        Some("checkout.session") => wrap("checkout.session.completed"),
        Some("customer") => wrap("customer.created"),
        Some("dispute") => wrap("charge.dispute.created"),
        Some("payment_intent") => wrap("payment_intent.succeeded"),
        Some("radar.early_fraud_warning") => wrap("radar.early_fraud_warning.created"),
        Some("refund") => wrap("refund.created"),
        Some(other) => wrap(&format!("{other}.created")),
        None if name.starts_with("event.") => vec![fixture],
        None => Vec::new(),
    }
}

/// What each file tells; where it holds several events, event by event.
const PADDLE: &[(&str, &[&str])] = &[
    ("api.adjustments.create_response", &["refund pending 18.86 usd"]),
    ("api.adjustments.list", &["refund pending 0.92 usd", "NoEffect", "NoEffect", "NoEffect", "NoEffect"]),
    (
        "api.events.list",
        &[
            "EventType",
            "EventType",
            "NoEffect",
            "NoEffect",
            "NoEffect",
            "NoEffect",
            "NoEffect",
            "EventType",
            "NoEffect",
            "NoEffect",
            "payment 550.00 GBP",
        ],
    ),
    (
        "api.notifications.list",
        &[
            "EventType",
            "NoEffect",
            "EventType",
            "EventType",
            "customer",
            "refund pending 0.92 usd",
            "refund pending 0.92 usd",
            "NoEffect",
        ],
    ),
    ("api.real.adjustments.create_response", &["refund pending 0.79 usd"]),
    ("api.real.notifications.get", &["EventType"]),
    ("api.transaction.full_with_includes", &["NoEffect"]),
    ("entity.adjustment.created", &["refund pending 0.92 usd"]),
    ("entity.adjustment.updated", &["refund pending 0.92 usd"]),
    ("entity.chargeback_warning.bigint", &["chargeback final 90071992547409.93 usd, dispute warning"]),
    ("entity.customer.created", &["customer"]),
    ("entity.customer.imported", &["customer"]),
    ("entity.customer.updated", &["customer"]),
    ("entity.payment_method.deleted", &["EventType"]),
    ("entity.payment_method.saved", &["EventType"]),
    ("entity.payout.created", &["EventType"]),
    ("entity.payout.paid", &["EventType"]),
    ("entity.subscription.canceled", &["EventType"]),
    ("entity.subscription.created", &["EventType"]),
    ("entity.transaction.billed", &["NoEffect"]),
    ("entity.transaction.canceled", &["NoEffect"]),
    ("entity.transaction.completed", &["payment 599.00 USD"]),
    ("entity.transaction.created", &["NoEffect"]),
    ("entity.transaction.paid", &["payment 599.00 USD"]),
    ("entity.transaction.past_due", &["NoEffect"]),
    ("entity.transaction.payment_failed", &["NoEffect"]),
    ("entity.transaction.ready", &["NoEffect"]),
    ("entity.transaction.revised", &["NoEffect"]),
    ("entity.transaction.updated", &["NoEffect"]),
    ("envelope.notif00.business.updated", &["EventType"]),
    ("envelope.notif01.transaction.created", &["NoEffect"]),
    ("envelope.notif02.product.updated", &["EventType"]),
    ("envelope.notif03.subscription.trialing", &["EventType"]),
    ("envelope.notif04.customer.created", &["customer"]),
    ("envelope.notif05.adjustment.created", &["refund pending 0.92 usd"]),
    ("envelope.notif06.adjustment.created", &["refund pending 0.92 usd"]),
    ("envelope.notif07.transaction.revised", &["NoEffect"]),
    ("event.api00.subscription.updated", &["EventType"]),
    ("event.api01.subscription.created", &["EventType"]),
    ("event.api02.transaction.past_due", &["NoEffect"]),
    ("event.api03.transaction.updated", &["NoEffect"]),
    ("event.api04.transaction.payment_failed", &["NoEffect"]),
    ("event.api05.transaction.billed", &["NoEffect"]),
    ("event.api06.transaction.created", &["NoEffect"]),
    ("event.api07.subscription.updated", &["EventType"]),
    ("event.api08.transaction.created", &["NoEffect"]),
    ("event.api09.transaction.updated", &["NoEffect"]),
    ("event.api10.transaction.completed", &["payment 550.00 GBP"]),
    ("event.go00.transaction.completed", &["payment 7.92 GBP"]),
    ("event.go01.transaction.updated", &["NoEffect"]),
    ("event.go02.subscription.created", &["EventType"]),
    ("event.real22.adjustment.created", &["refund pending 0.79 usd"]),
    ("event.real23.transaction.completed", &["payment 10.00 USD"]),
    ("event.real24.transaction.updated", &["NoEffect"]),
    ("event.real25.transaction.updated", &["NoEffect"]),
    ("event.real28.transaction.billed", &["NoEffect"]),
    ("event.real29.transaction.created", &["NoEffect"]),
    ("rawbody.simulation0.adjustment.updated", &["refund pending 0.92 usd"]),
];

const STRIPE: &[(&str, &[&str])] = &[
    ("event.rm.balance.available", &["EventType"]),
    ("event.rm.charge.captured", &["payment 1.00 USD"]),
    ("event.rm.charge.dispute.closed", &["Malformed data.object.id: expected an id, got none"]),
    ("event.rm.charge.dispute.created", &["chargeback pending 1.00 usd, dispute warning"]),
    ("event.rm.charge.dispute.funds_reinstated", &["chargeback void 250.00 usd, dispute open"]),
    ("event.rm.charge.dispute.funds_withdrawn", &["chargeback final 250.00 usd, dispute open"]),
    ("event.rm.charge.dispute.updated", &["Malformed data.object.id: expected an id, got none"]),
    ("event.rm.charge.failed", &["NoEffect"]),
    ("event.rm.charge.refund.updated", &["refund final 1.00 usd"]),
    ("event.rm.charge.refunded", &["payment 1.00 USD, refund final 1.00 usd"]),
    ("event.rm.charge.succeeded", &["payment 20.00 USD"]),
    (
        "event.rm.charge.updated",
        &["Malformed data.object.status: expected succeeded, pending or failed, got none"],
    ),
    ("event.rm.checkout.session.completed", &["payment 30.00 USD"]),
    ("event.rm.checkout.session.completed.payment_mode", &["payment 250.00 USD"]),
    ("event.rm.checkout.session.completed.setup_mode", &["NoEffect"]),
    ("event.rm.payment_intent.canceled", &["NoEffect"]),
    ("event.rm.payment_intent.created", &["NoEffect"]),
    ("event.rm.payment_intent.payment_failed", &["NoEffect"]),
    ("event.rm.payment_intent.processing", &["NoEffect"]),
    ("event.rm.payment_intent.requires_action", &["NoEffect"]),
    ("event.rm.payment_intent.succeeded", &["payment 20.00 USD"]),
    ("event.se.charge_dispute_closed", &["chargeback pending 10.00 usd, dispute warning"]),
    ("event.se.charge_dispute_created", &["chargeback pending 10.00 usd, dispute warning"]),
    ("event.se.charge_expired", &["NoEffect"]),
    ("event.se.charge_pending", &["NoEffect"]),
    ("event.se.charge_refunded", &["payment 25.00 USD, refund final 25.00 usd"]),
    ("event.se.charge_succeeded", &["payment 30.00 USD"]),
    ("event.se.checkout_session_completed", &["payment 9.99 EUR"]),
    ("event.se.early_fraud_warning_created", &["dispute warning"]),
    ("event.se.early_fraud_warning_updated", &["dispute warning"]),
    ("event.se.payment_intent_partially_funded", &["NoEffect"]),
    ("event.se.refund_created", &["refund final 10.00 usd"]),
    ("event.se.refund_failed", &["refund final 10.00 usd"]),
    ("event.se.refund_updated", &["refund final 10.00 usd"]),
    ("object.oa.balance_transaction", &["EventType"]),
    ("object.oa.charge", &["payment pending 1.00 USD"]),
    ("object.oa.checkout.session", &["NoEffect"]),
    ("object.oa.customer", &["customer"]),
    ("object.oa.dispute", &["chargeback pending 10.00 usd, dispute warning"]),
    ("object.oa.event", &["EventType"]),
    ("object.oa.payment_intent", &["NoEffect"]),
    ("object.oa.radar.early_fraud_warning", &["dispute warning"]),
    ("object.oa.refund", &["refund final 1.00 usd"]),
];
