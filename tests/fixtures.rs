//! Payloads that others published, from the door to the inbox: each is taken, and none is lost.
//!
//! They are read where they lie beside the workspace (`../shared/fixtures`) and are no part of it; without them these
//! tests say so and pass. What each of them tells is checked in the crate `processors`.

use crate::binary::{Configuration, deliver, settings};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use testkit::{Bursar, run};

/// A published event, and where it was published.
struct Published {
    processor: &'static str,
    file: String,
    event: Value,
}

impl Published {
    fn id(&self) -> String {
        let id = self.event.get("event_id").unwrap_or(&self.event["id"]);
        id.as_str().unwrap_or_else(|| panic!("{}: expected an event", self.file)).to_owned()
    }
}

fn published() -> Vec<Published> {
    let mut all = Vec::new();
    for (processor, events_of) in
        [("paddle", paddle_events as fn(&str, Value) -> Vec<Value>), ("stripe", stripe_events)]
    {
        for (file, payload) in files(processor) {
            for event in events_of(&file, payload) {
                let event = under_an_id_of_its_own(&all, &file, event);
                all.push(Published { processor, file: file.clone(), event });
            }
        }
    }
    all
}

/// Some were adapted by hand from one another and kept its id: to the gate that is a conflict. Whatever says the same
/// as one before keeps its id too, and is a repeat.
fn under_an_id_of_its_own(before: &[Published], file: &str, mut event: Value) -> Value {
    let name = if event.get("event_id").is_some() { "event_id" } else { "id" };
    let is_other = |one: &Published| {
        one.event.get(name) == event.get(name)
            && ["event_type", "type", "data"].iter().any(|field| one.event.get(*field) != event.get(*field))
    };
    if before.iter().any(is_other) {
        event[name] = json!(format!("evt_{file}"));
    }
    event
}

fn files(processor: &str) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures").join(processor);
    let Ok(entries) = std::fs::read_dir(&folder) else { return Vec::new() };
    let mut files: Vec<(String, Value)> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let payload = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            (path.file_stem().unwrap().to_string_lossy().into_owned(), payload)
        })
        .collect();
    files.sort_by(|a, b| a.0.cmp(&b.0));
    files
}

/// Events stand alone, in lists, or inside of notifications; a bare entity becomes an event of the type that its file
/// names; requests, errors and signatures are no deliveries.
fn paddle_events(file: &str, payload: Value) -> Vec<Value> {
    let wrap = |event_type: &str, data: &Value| json!({ "event_id": format!("evt_{file}"), "event_type": event_type, "occurred_at": "2026-11-20T10:00:00Z", "data": data });
    let (kind, rest) = file.split_once('.').unwrap();
    match kind {
        "event" | "envelope" | "rawbody" => vec![payload],
        "entity" if rest.starts_with("chargeback_warning") => vec![wrap("adjustment.created", &payload)],
        "entity" => vec![wrap(rest, &payload)],
        "api" => {
            let listed = payload["data"].as_array().cloned().unwrap_or_default();
            let events = listed.into_iter().filter_map(|element| match element {
                event if event.get("event_type").is_some() => Some(event),
                notification if notification.get("payload").is_some() => {
                    Some(notification["payload"].clone())
                }
                _ => None,
            });
            events.collect()
        }
        _ => Vec::new(),
    }
}

fn stripe_events(file: &str, payload: Value) -> Vec<Value> {
    let wrap = |event_type: &str| {
        json!({ "id": format!("evt_{file}"), "object": "event", "type": event_type, "created": 1_795_000_000, "livemode": false,
                "data": { "object": payload.clone() } })
    };
    match file {
        "object.oa.event" => vec![payload],
        "object.oa.charge" => vec![wrap("charge.succeeded")],
        "object.oa.refund" => vec![wrap("refund.created")],
        "object.oa.dispute" => vec![wrap("charge.dispute.created")],
        "object.oa.payment_intent" => vec![wrap("payment_intent.succeeded")],
        "object.oa.checkout.session" => vec![wrap("checkout.session.completed")],
        "object.oa.radar.early_fraud_warning" => vec![wrap("radar.early_fraud_warning.created")],
        "object.oa.customer" => vec![wrap("customer.created")],
        event if event.starts_with("event.") => vec![payload],
        _ => Vec::new(),
    }
}

#[test]
fn every_published_event_is_taken_at_the_door_and_found_in_the_inbox() {
    let published = published();
    if published.is_empty() {
        println!("skipped: no published payloads beside the workspace");
        return;
    }
    run(async |site| {
        // Nearly all of them were made in test mode.
        let configuration = Configuration::new("test");
        let settings = settings(&configuration);
        let bursar = Bursar::start(&site, &settings, &["up"]).await;
        let client = reqwest::Client::new();
        let mut ids = BTreeMap::new();
        for one in &published {
            let url = bursar.addresses.http(&format!("/webhooks/{}", one.processor));
            let body = one.event.to_string().into_bytes();
            assert_eq!(
                deliver(&client, url, one.processor, body).await.unwrap(),
                StatusCode::OK,
                "{}",
                one.file
            );
            ids.insert((one.processor, one.id()), &one.file);
        }
        site.until("select count(*) from raw_deliveries", ids.len() as i64).await;
        let read = "select count(*) from inbox i where kind = any(array['fact.payment', 'fact.movement', 'fact.customer'])
                    and not exists (select from outcomes f where f.source = i.source and f.id = i.id)";
        site.until(read, 0).await;
        bursar.terminate().await;

        let admitted = site.texts("select source || '/' || id from inbox").await;
        for ((processor, id), file) in &ids {
            assert!(admitted.contains(&format!("{processor}/{id}")), "{file} is not in the inbox");
        }
        println!("{} published events, {} of them different", published.len(), ids.len());
        assert_eq!(site.number("select count(*) from dead_letters").await, 0);
    });
}

#[test]
fn what_was_published_and_is_no_event_is_refused_and_never_a_fault() {
    let files: Vec<_> =
        ["paddle", "stripe"].into_iter().flat_map(|p| files(p).into_iter().map(move |f| (p, f))).collect();
    if files.is_empty() {
        println!("skipped: no published payloads beside the workspace");
        return;
    }
    run(async |site| {
        let configuration = Configuration::new("test");
        let bursar = Bursar::start(&site, &settings(&configuration), &["up"]).await;
        let client = reqwest::Client::new();
        for (processor, (file, payload)) in files {
            for door in processors::ALL {
                let url = bursar.addresses.http(&format!("/webhooks/{}", door.name));
                let body = payload.to_string().into_bytes();
                // An adapter signs only what has an id.
                if door.name == "generic" && payload["id"].as_str().is_none() {
                    continue;
                }
                let status = deliver(&client, url, door.name, body).await.unwrap();
                let fits = status == StatusCode::OK || status == StatusCode::BAD_REQUEST;
                assert!(fits, "{processor}'s {file} at {}: {status}", door.name);
            }
        }
        bursar.terminate().await;
    });
}
