//! The fleet killed in the middle of its work, again and again: every purchase has its credits exactly once, and the
//! world was told of every change.

use crate::binary::{Configuration, deliver, settings};
use bus::queue;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::facts::PRICE;
use testkit::{Addresses, Bursar, Site, run_within, within};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

const EVENTS: usize = 10_000;
const ACCOUNTS: usize = 500;
const KILLS: usize = 5;

/// Deliveries that are under way at a time.
const SENDERS: usize = 24;

/// A debug build on a busy machine does it in one minute.
const LIMIT: Duration = Duration::from_secs(300);

#[test]
fn a_fleet_that_is_killed_again_and_again_credits_every_purchase_exactly_once() {
    let events =
        std::env::var("BURSAR_TEST_CRASH_EVENTS").map_or(EVENTS, |text| text.parse().expect("a number"));
    let seed: u64 = std::env::var("BURSAR_TEST_CRASH_SEED")
        .map_or_else(|_| rand::random(), |text| text.parse().expect("a number"));
    println!("BURSAR_TEST_CRASH_SEED={seed} BURSAR_TEST_CRASH_EVENTS={events}");
    run_within(LIMIT, async |site| {
        let mut random = StdRng::seed_from_u64(seed);
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let told = site.subscribe().await;
        let started = Instant::now();

        let deliveries = deliveries(events, &mut random);
        let count = deliveries.len();
        let addresses = Addresses::free();
        let mut bursar = Bursar::start_at(addresses.clone(), &site, &settings, &["up"]).await;
        let mut accepted = send(deliveries, addresses.http("/webhooks/paddle"));
        for (number, moment) in moments(count, &mut random).into_iter().enumerate() {
            accepted.wait_for(|accepted| *accepted >= moment).await.unwrap();
            // One of them is told to stop, in the middle of it all as well.
            let is_told = number == 1;
            if is_told {
                assert!(bursar.terminate().await.success());
            } else {
                bursar.kill().await;
            }
            let how = if is_told { "stopped" } else { "killed" };
            println!("{how} after {moment} of {count} deliveries, at {:.1?}", started.elapsed());
            bursar = Bursar::start_at(addresses.clone(), &site, &settings, &["up"]).await;
        }
        accepted.wait_for(|accepted| *accepted == count).await.unwrap();
        println!("every delivery accepted at {:.1?}", started.elapsed());
        until_settled(&site, events).await;
        println!("everything settled at {:.1?}", started.elapsed());

        every_purchase_is_credited_once(&site, events).await;
        let stored: BTreeSet<String> = site.texts("select id::text from events").await.into_iter().collect();
        within(LIMIT, "every event to be told", async || {
            let told: BTreeSet<String> = told.told().into_iter().map(|event| event.id).collect();
            stored.is_subset(&told).then_some(())
        })
        .await;
        println!("{} events, told {} times", stored.len(), told.told().len());
        assert!(bursar.terminate().await.success());
        let verified = Bursar::run(&site, &settings, &["ledger", "verify", "--json"]).await;
        let report: Value = serde_json::from_slice(&verified.stdout).unwrap();
        assert!(verified.status.success() && report["ok"] == json!(true), "{report:#}");
        println!("proved at {:.1?}", started.elapsed());
    });
}

/// The bodies of every purchase, each fifth twice, in random order.
fn deliveries(events: usize, random: &mut StdRng) -> Vec<Vec<u8>> {
    let twice = (0..events).filter(|number| number % 5 == 0);
    let mut deliveries: Vec<Vec<u8>> = (0..events).chain(twice).map(purchase).collect();
    deliveries.shuffle(random);
    deliveries
}

fn purchase(number: usize) -> Vec<u8> {
    let event = json!({
        "event_id": format!("evt_{number}"),
        "event_type": "transaction.completed",
        "occurred_at": "2026-11-20T10:00:04.825325Z",
        "notification_id": format!("ntf_{number}"),
        "data": {
            "id": format!("txn_{number}"),
            "status": "completed",
            "customer_id": format!("ctm_{}", number % ACCOUNTS),
            "custom_data": { "account_id": format!("acct_{}", number % ACCOUNTS) },
            "currency_code": "USD",
            "items": [{ "price": { "id": PRICE }, "quantity": 1 }],
            "details": { "totals": { "subtotal": "1000", "tax": "200", "total": "1200", "currency_code": "USD" } },
        },
    });
    event.to_string().into_bytes()
}

/// When to kill: anywhere in the stream, and once more when all is accepted and not yet worked off.
fn moments(count: usize, random: &mut StdRng) -> Vec<usize> {
    let mut moments: Vec<usize> = (1..KILLS).map(|_| random.random_range(1..count)).collect();
    moments.sort();
    moments.push(count);
    moments
}

/// Sends everything, several at a time, each again and again until it is accepted, as a processor does.
fn send(deliveries: Vec<Vec<u8>>, url: String) -> watch::Receiver<usize> {
    let (accepted, accepting) = watch::channel(0);
    let waiting = Arc::new(Mutex::new(deliveries));
    tokio::spawn(async move {
        let accepted = Arc::new(accepted);
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            let (waiting, accepted, url) = (waiting.clone(), accepted.clone(), url.clone());
            senders.spawn(async move {
                let client = reqwest::Client::new();
                let next = || waiting.lock().unwrap().pop();
                while let Some(body) = next() {
                    while deliver(&client, url.clone(), "paddle", body.clone()).await.ok()
                        != Some(StatusCode::OK)
                    {
                        // The sender's own pause between two attempts; nothing waits for it.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    accepted.send_modify(|accepted| *accepted += 1);
                }
            });
        }
        senders.join_all().await;
    });
    accepting
}

async fn until_settled(site: &Site, events: usize) {
    within(LIMIT, "everything to be settled", async || {
        let open = site
            .number(
                "select (select count(*) from kept_messages) + (select count(*) from outbox)
                      + (select count(*) from inbox i where not exists
                           (select from outcomes f where f.source = i.source and f.id = i.id))",
            )
            .await;
        let admitted = site.number("select count(*) from inbox").await;
        (open == 0 && admitted == events as i64).then_some(())
    })
    .await;
    for queue in [queue::INGESTER, queue::GATE, queue::GATE_INBOUND, ledger::QUEUE] {
        within(LIMIT, &format!("{queue} to be empty"), async || (site.depth(queue).await == 0).then_some(()))
            .await;
    }
}

async fn every_purchase_is_credited_once(site: &Site, events: usize) {
    let events = events as i64;
    for (what, query, expect) in [
        ("dead letters", "select count(*) from dead_letters", 0),
        ("outcomes", "select count(*) from outcomes where outcome = 'applied'", events),
        ("repeats", "select count(*) from inbox where repeats > 0 and substr(id, 5)::int % 5 = 0", (events + 4) / 5),
        ("delivered", "select count(*) from payments where state = 'delivered'", events),
        ("lots", "select count(*) from lots where granted = remaining and granted in (50, 1000)", events * 2),
        ("credits", "select sum(available)::bigint from accounts", events * 1050),
        ("each account's", "select count(*) from accounts a where available <> 1050 * (select count(*) from payments p where p.account = a.account)", 0),
        ("events", "select count(*) from events", events * 3),
        (
            "gaps",
            "select count(*) from (select account, count(*), min(sequence), max(sequence) from events group by account) s
             where s.min <> 1 or s.max <> s.count",
            0,
        ),
    ] {
        assert_eq!(site.number(query).await, expect, "{what}");
    }
}
