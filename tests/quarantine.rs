//! What the AMQP client cannot parse stops nothing: each such message is a dead letter with its bytes, within seconds, in
//! whichever queue it lies, and its neighbours flow on.
//!
//! The figures: `cargo test -p fleet-tests quarantine::while -- --nocapture`.

use crate::dlq::Deployment;
use crate::gate::gate_of;
use bus::{exchange, queue};
use dead_letters::DeadLetters;
use domain::{Envelope, Fact};
use gate::Door;
use lapin::options::BasicGetOptions;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use testkit::facts::{envelope, payment, usage};
use testkit::raw::{long, short};
use testkit::{Bursar, RawPost, Relay, Settings, Site, eventually, run, run_within, within};
use time::OffsetDateTime;

const LIMIT: Duration = Duration::from_secs(120);

const UNREADABLE: &str = "select count(*) from dead_letters where code = 'unreadable_properties'";
const APPLIED: &str = "select count(*) from outcomes where outcome = 'applied'";

/// An id as some libraries send it: no text, but the bytes themselves.
const UUID: [u8; 16] =
    [0x01, 0x8f, 0x3c, 0xff, 0xc0, 0x80, 0x70, 0x01, 0x8f, 0x3c, 0xff, 0xc0, 0x80, 0x70, 9, 8];

const HEADERS: u16 = 1 << 13;

/// What a frame of RabbitMQ's default size leaves to the properties.
const PROPERTIES_MAX: usize = 131_072 - 8 - 12;

fn entry(name: &[u8], value: &[u8]) -> Vec<u8> {
    [short(name), value.to_vec()].concat()
}

fn headers(entries: &[u8]) -> Vec<u8> {
    [&HEADERS.to_be_bytes()[..], &long(entries)].concat()
}

/// Lists in lists, tables in tables, or both by turns.
fn nested(letters: &[u8], depth: usize) -> Vec<u8> {
    (0..depth).fold(vec![b'V'], |value, level| {
        let letter = letters[level % letters.len()];
        let content = if letter == b'F' { entry(b"n", &value) } else { value };
        [&[letter][..], &long(&content)].concat()
    })
}

/// Properties that end the client's connection, or its process, by what is wrong with them.
fn poisons() -> Vec<(&'static str, Vec<u8>)> {
    let text = |bit: u16| [&(1_u16 << bit).to_be_bytes()[..], &short(&UUID)].concat();
    let large = entry(b"large", &[&b"S"[..], &long(&[b'x'; 70_000])].concat());
    let (filling, flags) = (PROPERTIES_MAX - 2 - 4 - 17 - 10, HEADERS | 1 << 7);
    let filling = entry(b"full", &[&b"S"[..], &long(&vec![b'x'; filling])].concat());
    vec![
        ("content type", text(15)),
        ("content encoding", text(14)),
        ("correlation id", text(10)),
        ("reply-to", text(9)),
        ("message id", text(7)),
        ("type", text(5)),
        ("app id", text(3)),
        ("cluster id", text(2)),
        ("name of a header", headers(&entry(&UUID, b"V"))),
        ("name in a table", headers(&entry(b"t", &[&b"F"[..], &long(&entry(&UUID, b"V"))].concat()))),
        ("3,000 lists", headers(&entry(b"deep", &nested(b"A", 3_000)))),
        ("3,000 tables", headers(&entry(b"deep", &nested(b"F", 3_000)))),
        ("lists and tables", headers(&entry(b"deep", &nested(b"AF", 3_000)))),
        ("70 kB of headers", headers(&[large, entry(&UUID, b"V")].concat())),
        ("a frame that is full", [&flags.to_be_bytes()[..], &long(&filling), &short(&UUID)].concat()),
    ]
}

fn post(site: &Site, exchange: &str, routing_key: &[u8], properties: Vec<u8>, fact: &Envelope) -> RawPost {
    RawPost {
        exchange: if exchange.is_empty() { String::new() } else { site.namespace.name(exchange) },
        routing_key: routing_key.to_vec(),
        properties,
        body: fact.to_json().into_bytes(),
    }
}

/// Where strangers, or who was let in, could put something, and the queue it then lies in.
const PLACES: [(&str, &str); 5] = [
    (exchange::RAW, queue::INGESTER),
    (exchange::VERIFIED, queue::GATE),
    (exchange::INBOUND, queue::GATE_INBOUND),
    (exchange::FACTS, ledger::QUEUE),
    (exchange::DEAD, ""),
];

/// Each of [`poisons`] in each queue, and a routing key that is no text where such a one leads somewhere; with the number of
/// its fact.
fn poisoned(site: &Site) -> Vec<RawPost> {
    let mut posts = Vec::new();
    for (exchange, _) in PLACES {
        let mut kinds: Vec<(&[u8], Vec<u8>)> =
            poisons().into_iter().map(|(_, properties)| (&b"fact.usage"[..], properties)).collect();
        if exchange != exchange::FACTS {
            kinds.push((b"fact.\xff", vec![0, 0]));
        }
        for (routing_key, properties) in kinds {
            let fact = envelope(&format!("shop/poison_{}", posts.len()), usage("acct_p", 1));
            posts.push(post(site, exchange, routing_key, properties, &fact));
        }
    }
    posts
}

fn good(numbers: std::ops::Range<usize>) -> Vec<Envelope> {
    numbers.map(|number| envelope(&format!("shop/good_{number}"), usage("acct_g", 1))).collect()
}

/// A letter's properties as they came, by the fact in its body; with its queue.
async fn letters(site: &Site) -> BTreeMap<String, (String, String)> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "select id, queue, unreadable->>'properties' from dead_letters where code = 'unreadable_properties' and copies = 1",
    )
    .fetch_all(&site.pool)
    .await
    .unwrap();
    rows.into_iter().map(|(id, queue, properties)| (id, (queue, properties))).collect()
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn while_poison_lies_in_every_queue_good_facts_are_applied_and_it_is_in_postgres_within_seconds() {
    run_within(LIMIT, async |site| {
        let bursar = Bursar::start(&site, &Settings::default(), &["up"]).await;
        let poisoned = poisoned(&site);
        site.state_each(exchange::INBOUND, good(0..50)).await;
        let began = OffsetDateTime::now_utc();
        // Good ones between every two of the others.
        for (number, some) in poisoned.chunks(5).enumerate() {
            site.post_raw(some).await;
            site.state_each(exchange::INBOUND, good(50 + 10 * number..60 + 10 * number)).await;
        }
        let goods = 50 + 10 * poisoned.len().div_ceil(5) as i64;
        let posted = OffsetDateTime::now_utc() - began;
        site.until(UNREADABLE, poisoned.len() as i64).await;
        let settled = OffsetDateTime::now_utc() - began;
        site.until(APPLIED, goods).await;
        let applied = OffsetDateTime::now_utc() - began;
        println!(
            "{} poisoned messages of {} kinds in 5 queues and {goods} good facts, published within {posted:.2}: all poison in Postgres after {settled:.2}, all facts applied after {applied:.2}",
            poisoned.len(),
            poisons().len() + 1
        );
        let took: Vec<f64> = sqlx::query_scalar(
            "select extract(epoch from recorded_at - dead_at)::float8 from dead_letters order by 1",
        )
        .fetch_all(&site.pool)
        .await
        .unwrap();
        println!(
            "from the worker's hands into Postgres: median {:.0} ms, slowest {:.0} ms",
            took[took.len() / 2] * 1e3,
            took[took.len() - 1] * 1e3
        );

        let letters = letters(&site).await;
        for (number, post) in poisoned.iter().enumerate() {
            let (queue, properties) = &letters[&format!("poison_{number}")];
            let exchange = &post.exchange[site.namespace.name("").len()..];
            let (_, expect) = PLACES.into_iter().find(|(place, _)| *place == exchange).unwrap();
            assert_eq!((queue.as_str(), properties), (expect, &digits(&post.properties)), "{number}");
        }
        let routing_keys = site.texts(
            "select distinct unreadable->>'routing_key' from dead_letters where unreadable->>'routing_key' <> ''",
        );
        assert_eq!(routing_keys.await, [digits(b"fact.\xff")]);
        let bodies: Vec<Vec<u8>> =
            sqlx::query_scalar("select body from dead_letters").fetch_all(&site.pool).await.unwrap();
        assert!(poisoned.iter().all(|post| bodies.contains(&post.body)), "bodies are as they came");

        // An operator is told.
        site.until(
            "select least(count(*), 1) from alerts where alert = 'dead_letters_new_kind' and cleared_at is null",
            1,
        )
        .await;
        let ready = reqwest::get(bursar.addresses.admin("/readyz")).await.unwrap();
        assert!(ready.status().is_success(), "{}", ready.text().await.unwrap());
        for (_, queue) in PLACES.into_iter().filter(|(_, queue)| !queue.is_empty()) {
            site.until_depth(queue, 0).await;
        }
        site.until_depth(queue::DEAD_LETTERS, 0).await;
        assert!(bursar.terminate().await.success());
    });
}

/// At the start, with nothing else running: what aborted every process that read the queue.
#[test]
fn a_fleet_that_starts_with_poison_in_its_queues_is_ready() {
    run_within(LIMIT, async |site| {
        let poisoned = poisoned(&site);
        site.post_raw(&poisoned).await;
        let bursar = Bursar::start(&site, &Settings::default(), &["up"]).await;
        site.until(UNREADABLE, poisoned.len() as i64).await;
        assert!(bursar.terminate().await.success());
    });
}

#[test]
fn a_letter_that_cannot_be_read_is_shown_exported_and_replayed_with_what_can() {
    run_within(LIMIT, async |site| {
        let deployment = Deployment::with("");
        let bursar = Bursar::start(&site, &deployment.settings(), &["up"]).await;
        let flags: u16 = 1 << 15 | HEADERS | 1 << 7;
        let traceparent = entry(b"traceparent", &[&b"S"[..], &long(b"00-x")].concat());
        let kind = short(b"application/cloudevents+json");
        let properties = [&flags.to_be_bytes()[..], &kind, &long(&traceparent), &short(&UUID)].concat();
        let fact = envelope("shop/use_1", usage("acct_1", 5));
        site.post_raw(&[post(&site, exchange::INBOUND, b"fact.usage", properties.clone(), &fact)]).await;
        site.until(UNREADABLE, 1).await;

        let listed = deployment.done(&site, &["list"]).await;
        let line = &listed["letters"][0];
        assert_eq!((&line["worker"], &line["fact"]), (&json!("gate"), &json!("shop/use_1")));
        let reason = line["reason"].as_str().unwrap();
        assert!(
            reason.contains("the message id \"0x018f3cffc08070018f3cffc080700908\" is no UTF-8"),
            "{reason}"
        );
        let letter = line["letter"].as_str().unwrap();
        let shown = deployment.done(&site, &["show", letter]).await["letter"].clone();
        let expect = json!({ "exchange": "", "routing_key": "", "properties": digits(&properties) });
        assert_eq!(shown["unreadable"], expect);
        assert_eq!(
            (&shown["queue"], &shown["headers"]),
            (&json!("gate.inbound"), &json!({ "traceparent": "00-x" }))
        );
        let text = Bursar::run(&site, &deployment.settings(), &["dlq", "show", letter]).await;
        let text = String::from_utf8(text.stdout).unwrap();
        assert!(text.contains(&format!("properties {}", digits(&properties))), "{text}");
        let exported = exported(&site, &deployment).await;
        assert_eq!((&exported["letter"], &exported["unreadable"]), (&json!(letter), &expect));

        let planned = deployment.done(&site, &["plan", letter]).await;
        assert!(planned.to_string().contains("applied"), "{planned:#}");
        deployment.done(&site, &["replay", letter, "--expect", "1", "--by", "ana"]).await;
        site.until("select count(*) from dead_letters where state = 'resolved'", 1).await;
        site.until(APPLIED, 1).await;
        assert!(bursar.terminate().await.success());
    });
}

async fn exported(site: &Site, deployment: &Deployment) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letters.jsonl");
    deployment.done(site, &["export", "--to", path.to_str().unwrap(), "--by", "ana"]).await;
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(text.lines().next().unwrap()).unwrap()
}

#[test]
fn what_was_drained_while_postgres_was_away_comes_back_with_its_bytes() {
    run(async |site| {
        let deployment = Deployment::with("");
        let gate = site.start(gate_of(&site, Door::Verified), 1);
        let (_, properties) = poisons().remove(10);
        let fact = envelope("paddle/evt_1", usage("acct_1", 5));
        site.post_raw(&[post(&site, exchange::VERIFIED, b"fact.\xff", properties.clone(), &fact)]).await;
        site.until_depth(queue::DEAD_LETTERS, 1).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("drained.jsonl");
        deployment.done(&site, &["drain", "--direct", "--to", path.to_str().unwrap()]).await;
        deployment.done(&site, &["import", path.to_str().unwrap(), "--by", "ana"]).await;
        let keeper =
            site.start(DeadLetters::new(processors::Settings::default(), &bursar::workers::NAMES), 1);
        site.until(UNREADABLE, 1).await;
        let stored = letters(&site).await;
        assert_eq!(stored["evt_1"], (queue::GATE.to_owned(), digits(&properties)));
        let routing_key = site.texts("select unreadable->>'routing_key' from dead_letters").await;
        assert_eq!(routing_key, [digits(b"fact.\xff")]);
        let body: Vec<u8> =
            sqlx::query_scalar("select body from dead_letters").fetch_one(&site.pool).await.unwrap();
        assert_eq!(String::from_utf8(body).unwrap(), fact.to_json());
        gate.stop().await;
        keeper.stop().await;
    });
}

/// The broker counts its deliveries in a header: the properties are others each time, the letter is one. And what just fitted
/// a frame does not any more.
#[test]
fn poison_that_was_delivered_before_is_the_same_letter() {
    run(async |site| {
        let keeper =
            site.start(DeadLetters::new(processors::Settings::default(), &bursar::workers::NAMES), 1);
        let fact = envelope("paddle/evt_1", usage("acct_1", 5));
        let posts = poisons()
            .into_iter()
            .map(|(_, properties)| post(&site, exchange::VERIFIED, b"fact.usage", properties, &fact));
        let posts: Vec<RawPost> = posts.collect();
        let count = posts.len() as i64;
        let gate = site.start(gate_of(&site, Door::Verified), 1);
        site.post_raw(&posts).await;
        site.until(UNREADABLE, count).await;
        gate.stop().await;

        site.post_raw(&posts).await;
        give_back(&site, queue::GATE, posts.len()).await;
        // Both at once: each message is given to one of them.
        let gates = [(); 2].map(|()| site.start(gate_of(&site, Door::Verified), 2));
        site.until("select sum(copies) from dead_letters", 2 * count).await;
        assert_eq!(site.number("select count(*) from dead_letters").await, count);
        for gate in gates {
            gate.stop().await;
        }
        keeper.stop().await;
    });
}

/// A sound message whose headers fill a frame comes once; with the broker's count it fits none.
#[test]
fn headers_that_fit_a_frame_the_first_time_alone_are_no_end_of_a_queue() {
    run(async |site| {
        let fact = envelope("paddle/evt_1", usage("acct_1", 5));
        let filling = vec![b'x'; PROPERTIES_MAX - 2 - 4 - 10];
        let full = headers(&entry(b"full", &[&b"S"[..], &long(&filling)].concat()));
        site.post_raw(&[post(&site, exchange::VERIFIED, b"fact.usage", full, &fact)]).await;
        give_back(&site, queue::GATE, 1).await;
        site.state(exchange::VERIFIED, vec![envelope("paddle/evt_2", usage("acct_1", 5))]).await;
        let gate = site.start(gate_of(&site, Door::Verified), 1);
        let letter = site.dead_lettered(1).await.remove(0);
        assert_eq!(letter.code, "unreadable_properties", "{}", letter.reason);
        assert!(letter.reason.contains("more than fit a frame"), "{}", letter.reason);
        site.until("select count(*) from inbox", 1).await;
        gate.stop().await;
    });
}

/// Takes messages and dies over them.
async fn give_back(site: &Site, queue: &str, count: usize) {
    let channel = site.broker.channel().await.unwrap();
    let name = site.namespace.name(queue);
    for _ in 0..count {
        let got = channel.basic_get(name.as_str().into(), BasicGetOptions::default()).await.unwrap();
        assert!(got.is_some());
    }
    drop(channel.close(200, "dead".into()).await);
    site.until_depth(queue, count as u32).await;
}

/// The screen lets nothing pass of which is known that the client dies of it. What is not known kills one queue's connection.
#[test]
fn what_kills_the_client_stops_its_own_queue_alone_and_is_told() {
    const DEADLY: &[u8] = b"evt_deadly";
    run_within(LIMIT, async |site| {
        let relay = Relay::to(site.amqp_url.expose_secret(), 5672);
        let consume = bus::Broker::new(relay.url(site.amqp_url.expose_secret()).into(), "by the relay");
        let context = || bus::Context { consume: consume.clone(), ..site.context() };
        let verified = site.start_with(Arc::new(gate_of(&site, Door::Verified)), 2, context());
        let keeper = DeadLetters::new(processors::Settings::default(), &bursar::workers::NAMES);
        let keeper = site.start_with(Arc::new(keeper), 1, context());
        relay.die_of(DEADLY);
        site.state(exchange::VERIFIED, vec![envelope("paddle/evt_deadly", usage("acct_1", 1))]).await;
        eventually("a lane that loses its consumers", async || (!verified.losing().is_empty()).then_some(()))
            .await;
        eventually("the other queue's lane to have a connection of its own", async || {
            let before = site.number("select count(*) from dead_letters").await;
            let fact = envelope(&format!("shop/x_{before}"), Fact::Payment(payment("txn_1", "acct_1")));
            site.post_raw(&[post(&site, exchange::DEAD, b"gate", vec![0, 0], &fact)]).await;
            tokio::time::timeout(Duration::from_millis(300), async {
                let told = "select count(*) from dead_letters";
                while site.number(told).await == before {}
            })
            .await
            .ok()
        })
        .await;
        eventually("it to go on undisturbed", async || keeper.losing().is_empty().then_some(())).await;
        assert!(verified.losing().iter().all(|lane| lane.starts_with("gate.")), "{:?}", verified.losing());
        relay.open();
        site.until("select count(*) from inbox", 1).await;
        let well = async || verified.losing().is_empty().then_some(());
        within(Duration::from_secs(60), "it to be well", well).await;
        verified.stop().await;
        keeper.stop().await;
    });
}

/// A host's name is looked up by a task: who ended meanwhile dropped it under the client's thread.
#[test]
fn no_command_ends_with_a_panic_of_the_client() {
    run_within(LIMIT, async |site| {
        let deployment = Deployment::with("");
        let url = site.amqp_url.expose_secret().replace("127.0.0.1", "localhost");
        let held = Relay::to(site.amqp_url.expose_secret(), 5672);
        held.hold();
        let urls = [url, held.url(site.amqp_url.expose_secret())];
        let commands: [&[&str]; 7] = [
            &["dlq", "plan"],
            &["dlq", "drain", "--direct"],
            &["topology", "--check"],
            &["doctor"],
            &["grant", "acct_1", "5", "--reason", "r", "--by", "ana"],
            &["unrecognised", "plan"],
            &["ledger", "verify"],
        ];
        for arguments in commands.into_iter().chain([&["dlq", "plan"][..]; 20]) {
            for url in &urls {
                let settings = deployment.settings().with("BURSAR_AMQP_URL", url.as_str());
                let output = Bursar::run(&site, &settings, arguments).await;
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(!said.contains("panicked"), "{arguments:?} at {url}: {said}");
                assert!(output.status.code().is_some(), "{arguments:?}: {:?}", output.status);
            }
        }
    });
}
