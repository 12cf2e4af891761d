//! What nobody understood when it came is admitted anew once somebody does: once, whoever asks and however often.
//!
//! "An older version" is played by storing what it would have stored: a fact that says nothing was understood, beside the
//! body of a delivery that today's code understands.

use crate::binary::{Configuration, SECRET, deliver, json_of, settings};
use crate::payloads::{paddle_payload, payload, translated};
use bus::{Decoded, Incoming, Verdict, Worker, exchange, queue};
use db::Work;
use domain::fact::{Unrecognised, UnrecognisedWhy};
use domain::{Envelope, Fact, RawDelivery};
use gate::{Candidate, Door, Gate};
use ledger::verify::Report;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use testkit::facts::PRICE;
use testkit::{Bursar, Settings, Site, run};
use time::OffsetDateTime;

const RECOGNISED: &str = "select count(*) from inbox where kind <> 'fact.unrecognised'
    and recognised_at > now() - interval '1 hour' and admitted_at < now() - interval '1 day'";

/// A purchase of [`PRICE`] by an account, as Paddle tells it.
fn purchase(number: usize, account: &str) -> Value {
    let mut payload = paddle_payload("transaction.completed");
    payload["event_id"] = format!("evt_{number:03}").into();
    payload["data"]["id"] = format!("txn_{number:03}").into();
    payload["data"]["custom_data"]["account_id"] = account.into();
    payload["data"]["details"]["line_items"][0]["price_id"] = PRICE.into();
    payload
}

/// What today's code makes of a delivery that gives one fact.
fn understood(payload: &Value) -> Envelope {
    translated("paddle", payload).remove(0)
}

/// What a version made of it that did not know the event.
fn not_understood(envelope: &Envelope) -> Envelope {
    let fact = Fact::Unrecognised(Unrecognised {
        processor: envelope.cause.source.clone(),
        event_type: "transaction.completed".to_owned(),
        why: UnrecognisedWhy::EventType,
        detail: None,
    });
    Envelope { fact, ..envelope.clone() }
}

fn gate_of(site: &Site) -> Gate {
    Gate::new(Door::Verified, site.namespace.clone(), processors::Settings::default(), site.readers())
}

/// Has a gate admit what an older version says of these, two days ago.
async fn admitted_by_an_older_version(site: &Site, envelopes: &[Envelope]) {
    let said: Vec<Envelope> = envelopes.iter().map(not_understood).collect();
    let verdicts = settle(site, &said).await;
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Done(domain::Outcome::Kept)), "{verdicts:?}");
    change(
        site,
        "update inbox set admitted_at = admitted_at - interval '2 days' where recognised_at is null",
    )
    .await;
}

async fn change(site: &Site, statement: &'static str) {
    sqlx::query(statement).execute(&site.owner).await.unwrap();
}

fn candidates(gate: &Gate, envelopes: &[Envelope]) -> Vec<Candidate> {
    let incoming = |envelope: &Envelope| Incoming {
        content_type: Some(domain::envelope::CONTENT_TYPE.to_owned()),
        body: envelope.to_json().into_bytes(),
        ..Incoming::default()
    };
    let decoded =
        envelopes.iter().flat_map(|envelope| gate.decode(&incoming(envelope), OffsetDateTime::now_utc()));
    decoded
        .map(|decoded| match decoded {
            Decoded::Item(candidate) => candidate,
            Decoded::Bad { reason, .. } => panic!("{reason}"),
        })
        .collect()
}

/// Settles facts as one batch, as a lane does, but for what it would publish: that comes back, with the statements it took.
async fn handle(site: &Site, envelopes: &[Envelope], commit: bool) -> (Vec<Verdict>, usize, u64) {
    let gate = gate_of(site);
    let mut work = Work::new(site.pool.clone(), OffsetDateTime::now_utc());
    let settled = gate.handle(&mut work, &candidates(&gate, envelopes)).await.unwrap();
    let statements = work.statements();
    match commit {
        true => work.commit().await.unwrap(),
        false => work.abandon().await,
    }
    (settled.verdicts, settled.forward.len(), statements)
}

async fn settle(site: &Site, envelopes: &[Envelope]) -> Vec<Verdict> {
    handle(site, envelopes, true).await.0
}

/// The verdicts in a word each; of a dead letter its code.
fn words(verdicts: &[Verdict]) -> Vec<&'static str> {
    let word = |verdict: &Verdict| match verdict {
        Verdict::Done(outcome) => outcome.as_str(),
        Verdict::Dead { code, .. } => *code,
    };
    verdicts.iter().map(word).collect()
}

async fn verified(site: &Site) -> Report {
    ledger::verify::verify(
        &site.pool,
        6,
        None,
        &facts::Readers::of(&site.topology, &site.namespace),
        &mut |_| {},
    )
    .await
    .unwrap()
}

/// Another purchase under the same identity.
fn contradicting(envelope: &Envelope) -> Envelope {
    let Fact::Payment(payment) = &envelope.fact else { panic!("{envelope:?}") };
    let payment = domain::fact::Payment { amount: testkit::facts::usd(1), ..payment.clone() };
    Envelope { fact: Fact::Payment(payment), raw: None, ..envelope.clone() }
}

#[test]
fn what_is_understood_now_is_recognised_once_and_a_repeat_ever_after() {
    run(async |site| {
        let fact = understood(&purchase(1, "a"));
        admitted_by_an_older_version(&site, std::slice::from_ref(&fact)).await;
        let thrice = [(); 3].map(|()| fact.clone());

        let (verdicts, forwarded, _) = handle(&site, &thrice, false).await;
        assert_eq!((words(&verdicts), forwarded), (vec!["recognised", "repeated", "repeated"], 1));
        let (verdicts, forwarded, _) = handle(&site, &thrice, true).await;
        assert_eq!(words(&verdicts), ["recognised", "repeated", "repeated"], "what was not committed is not");
        assert_eq!(forwarded, 1, "one message for its reader");
        let (verdicts, forwarded, _) = handle(&site, &thrice, true).await;
        assert_eq!((words(&verdicts), forwarded), (vec!["repeated"; 3], 0));
        assert_eq!(site.number(RECOGNISED).await, 1, "since when it is known, and since when understood");
        assert_eq!(site.number("select repeats::bigint from inbox").await, 5);
    });
}

#[test]
fn a_delivery_is_recognised_as_what_its_stored_body_says_and_nothing_else() {
    run(async |site| {
        let fact = understood(&purchase(1, "a"));
        let other = contradicting(&fact);
        admitted_by_an_older_version(&site, std::slice::from_ref(&fact)).await;
        assert_eq!(
            words(&settle(&site, &[other.clone(), fact.clone(), other]).await),
            ["conflict", "recognised", "conflict"]
        );
        assert!(verified(&site).await.ok);
    });
}

#[test]
fn where_the_body_is_gone_the_first_verified_delivery_is_believed() {
    run(async |site| {
        let fact = understood(&purchase(1, "a"));
        admitted_by_an_older_version(&site, std::slice::from_ref(&fact)).await;
        let mut connection = site.pool.acquire().await.unwrap();
        gate::erase(&mut connection, &fact.cause).await.unwrap();
        let batch = [not_understood(&fact), fact.clone(), contradicting(&fact), fact.clone()];
        assert_eq!(words(&settle(&site, &batch).await), ["repeated", "recognised", "conflict", "repeated"]);
        assert_eq!(
            site.number("select count(*) from raw_deliveries").await,
            0,
            "what is erased stays erased"
        );
        assert!(verified(&site).await.ok);
    });
}

#[test]
fn an_inbound_publisher_makes_nothing_recognised() {
    run(async |site| {
        let fact = understood(&purchase(1, "a"));
        admitted_by_an_older_version(&site, std::slice::from_ref(&fact)).await;
        let message = testkit::Post {
            exchange: exchange::INBOUND,
            routing_key: "fact.usage".to_owned(),
            message_id: None,
            content_type: Some(domain::envelope::CONTENT_TYPE.to_owned()),
            user_id: None,
            headers: Default::default(),
            body: fact.to_json().into_bytes(),
        };
        let door = Door::Inbound(gate::Publishers::default());
        let running =
            site.start(Gate::new(door, site.namespace.clone(), Default::default(), site.readers()), 1);
        site.post(message).await;
        assert_eq!(site.dead_lettered(1).await[0].code, "forbidden");
        running.stop().await;
        assert_eq!(site.number(RECOGNISED).await, 0);
    });
}

/// While a fleet is upgraded, an older ingester may still tell what a newer one has told already.
#[test]
fn what_is_recognised_is_never_made_unrecognised_again() {
    run(async |site| {
        let fact = understood(&purchase(1, "a"));
        let fact_alone = Envelope { raw: None, ..fact.clone() };
        let older = not_understood(&fact);
        assert_eq!(
            words(&settle(&site, &[older.clone(), fact.clone(), older.clone()]).await),
            ["kept", "recognised", "repeated"]
        );
        assert_eq!(
            words(&settle(&site, &[older, not_understood(&fact_alone)]).await),
            ["repeated", "conflict"]
        );
        assert_eq!(site.texts("select kind from inbox").await, ["fact.payment"]);
        assert!(verified(&site).await.ok);
    });
}

#[test]
fn the_statements_of_a_batch_do_not_depend_on_how_many_are_recognised() {
    run(async |site| {
        let facts: Vec<Envelope> = (0..300).map(|number| understood(&purchase(number, "a"))).collect();
        admitted_by_an_older_version(&site, &facts).await;
        let (_, _, one) = handle(&site, &facts[..1], true).await;
        let (verdicts, _, many) = handle(&site, &facts[1..], true).await;
        assert_eq!(words(&verdicts), ["recognised"; 299]);
        assert_eq!(one, many);
    });
}

#[test]
fn gates_side_by_side_recognise_each_once() {
    run(async |site| {
        let facts: Vec<Envelope> = (0..200).map(|number| understood(&purchase(number, "a"))).collect();
        admitted_by_an_older_version(&site, &facts).await;
        let mut copies = [facts.clone(), facts.clone(), facts.clone(), facts].concat();
        copies.shuffle(&mut rand::rngs::StdRng::seed_from_u64(1));
        let gates = [(); 2].map(|()| site.start(gate_of(&site), 2));
        for some in copies.chunks(17) {
            site.state(exchange::VERIFIED, some.to_vec()).await;
        }
        site.until("select sum(repeats)::bigint from inbox", 600).await;
        for gate in gates {
            gate.stop().await;
        }
        let passed_on = site.take_facts(ledger::QUEUE).await;
        let causes: BTreeSet<_> = passed_on.iter().map(|fact| &fact.cause).collect();
        assert_eq!((causes.len(), passed_on.len()), (200, 200));
        assert_eq!(site.dead_letters().await, []);
    });
}

#[test]
fn a_fact_is_in_flight_for_a_while_after_it_was_recognised() {
    run(async |site| {
        let fact = understood(&purchase(1, "a"));
        admitted_by_an_older_version(&site, std::slice::from_ref(&fact)).await;
        settle(&site, &[fact]).await;
        assert!(verified(&site).await.ok, "the ledger is about to read it");
        change(&site, "update inbox set recognised_at = now() - interval '6 minutes'").await;
        let report = verified(&site).await;
        let failed: Vec<&str> =
            report.checks.iter().filter(|check| !check.ok).map(|check| check.name).collect();
        assert_eq!(failed, ["facts_settled"]);
        let culprit = &report.checks.iter().find(|check| !check.ok).unwrap().failed[0];
        assert!(culprit.subject == "paddle/evt_001" && culprit.got.contains("recognised"), "{culprit:?}");
    });
}

async fn replay(site: &Site, settings: &Settings, more: &[&str]) -> (Option<i32>, Value) {
    let arguments = [&["unrecognised", "replay", "--json"], more].concat();
    let (output, report) = json_of(site, settings, &arguments).await;
    (output.status.code(), report)
}

async fn available(site: &Site, settings: &Settings, account: &str) -> Value {
    json_of(site, settings, &["account", "show", account, "--json"]).await.1["available"].take()
}

async fn verify_is_clean(site: &Site, settings: &Settings) {
    let (output, report) = json_of(site, settings, &["ledger", "verify", "--json"]).await;
    assert!(output.status.success(), "{report:#}");
    let (output, report) = json_of(site, settings, &["ledger", "rebuild", "--compare", "--json"]).await;
    assert!(output.status.success(), "{report:#}");
}

/// A price's worth of credits each for `acct_1` to `acct_3` and a Stripe refund that waits; what is still not understood; and
/// one whose body is gone.
async fn a_deployment_that_was_upgraded(site: &Site) {
    let mut envelopes: Vec<Envelope> =
        (1..=3).map(|number| understood(&purchase(number, &format!("acct_{number}")))).collect();
    envelopes.push(translated("stripe", &payload("stripe", "refund.created.succeeded")).remove(0));
    let erased = understood(&purchase(4, "acct_4"));
    envelopes.push(erased.clone());
    let mut address = erased.clone();
    address.cause.id = "evt_address".to_owned();
    let mut body = paddle_payload("address.created");
    body["event_id"] = "evt_address".into();
    address.raw = Some(RawDelivery { body: body.to_string().into_bytes() });
    envelopes.push(address);
    admitted_by_an_older_version(site, &envelopes).await;
    let mut connection = site.pool.acquire().await.unwrap();
    assert!(gate::erase(&mut connection, &erased.cause).await.unwrap());
}

#[test]
fn an_operator_finds_what_is_understood_now_and_replays_it_to_one_effect() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        a_deployment_that_was_upgraded(&site).await;
        let fleet = Bursar::start(&site, &settings, &["up"]).await;

        let (_, list) = json_of(&site, &settings, &["unrecognised", "list", "--json"]).await;
        assert_eq!((&list["found"], &list["understood"]), (&json!(6), &json!(4)));
        let paddle = &list["groups"][0];
        assert_eq!(
            (&paddle["processor"], &paddle["why"], &paddle["count"], &paddle["body_gone"]),
            (&json!("paddle"), &json!("event_type"), &json!(5), &json!(1))
        );
        assert_eq!(paddle["kinds"], json!({ "fact.payment": 3 }));
        assert_eq!(list["groups"][1]["kinds"], json!({ "fact.movement": 1 }));
        let one = ["unrecognised", "list", "--each", "--id", "paddle/evt_004", "--json"];
        let (_, each) = json_of(&site, &settings, &one).await;
        assert_eq!(
            (&each["deliveries"][0]["body"], &each["deliveries"][0]["facts"]),
            (&json!(false), &json!([]))
        );

        let (code, report) = replay(&site, &settings, &[]).await;
        assert_eq!((code, &report["found"]), (Some(2), &json!(4)), "nobody was asked: {report}");
        let (code, report) = replay(&site, &settings, &["--expect", "6"]).await;
        assert_eq!((code, &report["error"]), (Some(2), &json!("expected 6, found 4")));
        assert_eq!(site.number(RECOGNISED).await, 0);

        let first = ["--expect", "4", "--max", "1", "--rate", "100/s", "--by", "ada"];
        let (code, report) = replay(&site, &settings, &first).await;
        assert_eq!((code, &report["outcomes"]), (Some(0), &json!({ "applied": 1 })), "{report}");
        assert_eq!((&report["by"], &report["found"]), (&json!("ada"), &json!(4)));
        let (code, report) = replay(&site, &settings, &["--processor", "paddle", "--expect", "2"]).await;
        assert_eq!((code, &report["outcomes"]), (Some(0), &json!({ "applied": 2 })), "{report}");
        let (code, report) = replay(&site, &settings, &["--expect", "1", "--canary", "1"]).await;
        assert_eq!((code, &report["outcomes"]), (Some(0), &json!({ "waiting": 1 })), "{report}");
        let (code, report) = replay(&site, &settings, &["--expect", "0"]).await;
        assert_eq!((code, &report["replayed"]), (Some(0), &json!(0)));

        for account in ["acct_1", "acct_2", "acct_3"] {
            assert_eq!(available(&site, &settings, account).await, "1050", "{account}");
        }
        verify_is_clean(&site, &settings).await;
        let (_, list) = json_of(&site, &settings, &["unrecognised", "list", "--json"]).await;
        assert_eq!((&list["found"], &list["understood"]), (&json!(2), &json!(0)), "they stay: {list}");

        let url = fleet.addresses.http("/webhooks/paddle");
        let body = purchase(4, "acct_4").to_string().into_bytes();
        let status = deliver(&reqwest::Client::new(), url, "paddle", body).await.unwrap();
        assert_eq!(status, StatusCode::OK, "signed with {SECRET}");
        site.until("select count(*) from outcomes where outcome = 'applied'", 4).await;
        assert_eq!(available(&site, &settings, "acct_4").await, "1050");
        verify_is_clean(&site, &settings).await;
        assert_eq!(site.depth(queue::DEAD_LETTERS).await, 0);
        assert_eq!(site.number("select count(*) from dead_letters").await, 0);
        assert!(fleet.terminate().await.success());
    });
}

#[test]
fn two_terminals_at_once_have_one_effect() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let facts: Vec<Envelope> = (0..250).map(|number| understood(&purchase(number, "a"))).collect();
        admitted_by_an_older_version(&site, &facts).await;
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let terminals = [(); 2].map(|()| replay(&site, &settings, &["--expect", "250", "--canary", "5"]));
        let [one, other] = terminals;
        let ((one, first), (other, second)) = tokio::join!(one, other);
        // Whoever comes so late that some are done already does not find what it expects, and does nothing.
        let codes = BTreeSet::from([one, other]);
        assert!(codes.contains(&Some(0)) && codes.is_subset(&[Some(0), Some(2)].into()), "{first} {second}");
        site.until("select count(*) from outcomes where outcome = 'applied'", 250).await;
        assert_eq!(available(&site, &settings, "a").await, (250 * 1050).to_string());
        assert_eq!(site.number(RECOGNISED).await, 250);
        verify_is_clean(&site, &settings).await;
        assert_eq!(site.depth(queue::DEAD_LETTERS).await, 0);
        assert_eq!(site.number("select count(*) from dead_letters").await, 0);
        fleet.terminate().await;
    });
}

/// A purchase that is an account's already is said to be another's: that is a person's to decide.
#[test]
fn when_the_canary_fails_the_rest_is_left_alone() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        site.state(exchange::VERIFIED, vec![understood(&purchase(0, "acct_0"))]).await;
        site.until("select count(*) from outcomes where outcome = 'applied'", 1).await;
        let mut other = purchase(0, "acct_other");
        other["event_id"] = "evt_other".into();
        admitted_by_an_older_version(&site, &[understood(&other)]).await;
        let rest: Vec<Envelope> = (1..=3).map(|number| understood(&purchase(number, "a"))).collect();
        admitted_by_an_older_version(&site, &rest).await;
        change(&site, "update inbox set admitted_at = admitted_at - interval '1 day' where id = 'evt_other'")
            .await;

        let (code, report) = replay(&site, &settings, &["--expect", "4", "--canary", "1"]).await;
        assert_eq!((code, &report["replayed"]), (Some(1), &json!(1)), "{report}");
        assert_eq!(
            report["failed_first"][0],
            json!({ "delivery": "paddle/evt_other", "outcome": "contradicts" })
        );
        assert!(report["stopped"].as_str().unwrap().contains("the other 3 were left alone"), "{report}");
        assert_eq!(site.number("select count(*) from inbox where kind = 'fact.unrecognised'").await, 3);
        let (code, report) = replay(&site, &settings, &["--expect", "3", "--canary", "1"]).await;
        assert_eq!((code, &report["outcomes"]), (Some(0), &json!({ "applied": 3 })), "{report}");
        verify_is_clean(&site, &settings).await;
        fleet.terminate().await;
    });
}

#[test]
fn a_delivery_of_several_facts_is_recognised_whole() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let facts = translated("paddle", &paddle_payload("adjustment.created.chargeback"));
        assert_eq!(facts.len(), 2, "the money, and the case about it");
        admitted_by_an_older_version(&site, &facts[..1]).await;
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let (code, report) = replay(&site, &settings, &["--expect", "1"]).await;
        assert_eq!((code, &report["outcomes"]), (Some(0), &json!({ "waiting": 1 })), "{report}");
        assert_eq!(
            site.texts("select kind from inbox order by kind").await,
            ["fact.dispute", "fact.movement"]
        );
        verify_is_clean(&site, &settings).await;
        fleet.terminate().await;
    });
}

#[test]
fn without_a_fleet_a_replay_says_that_nothing_is_known_and_the_fleet_settles_it_later() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let facts: Vec<Envelope> = (0..150).map(|number| understood(&purchase(number, "a"))).collect();
        admitted_by_an_older_version(&site, &facts).await;
        let (code, report) = replay(&site, &settings, &["--expect", "150", "--wait", "100ms"]).await;
        assert_eq!(
            (code, &report["replayed"], &report["not_known_yet"]),
            (Some(1), &json!(100), &json!(100))
        );
        assert!(report["stopped"].is_string(), "it does not go on for nobody: {report}");
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        site.until("select count(*) from outcomes where outcome = 'applied'", 100).await;
        let (code, report) = replay(&site, &settings, &["--expect", "50"]).await;
        assert_eq!((code, &report["outcomes"]), (Some(0), &json!({ "applied": 50 })), "{report}");
        assert_eq!(available(&site, &settings, "a").await, (150 * 1050).to_string());
        verify_is_clean(&site, &settings).await;
        fleet.terminate().await;
    });
}

/// Payments of a price that the catalog lacks; it is mended while no fleet runs.
#[test]
fn without_a_fleet_undelivered_payments_are_not_acted_upon_for_nobody() {
    run(async |site| {
        let fleet = Bursar::start(&site, &settings(&Configuration::new("live")), &["up"]).await;
        let of_a_new_price = |number| {
            let mut payload = purchase(number, "a");
            payload["data"]["details"]["line_items"][0]["price_id"] = "pri_new".into();
            understood(&payload)
        };
        site.state(exchange::VERIFIED, (0..101).map(of_a_new_price).collect()).await;
        site.until("select count(*) from payments where state = 'undelivered'", 101).await;
        assert!(fleet.terminate().await.success());

        let price = "[[catalog]]\nprocessor = \"paddle\"\nprice = \"pri_new\"\ncredits = \"5\"\n";
        let deployment = crate::dlq::Deployment::with(price);
        let settings = deployment.settings();
        let plan = ["payment", "undelivered", "plan", "--max", "2", "--json"];
        let (_, plan) = json_of(&site, &settings, &plan).await;
        assert_eq!((&plan["found"], &plan["planned"]), (&json!(101), &json!(2)), "{plan}");

        let deliver = ["payment", "undelivered", "deliver", "--reason", "a price was missing", "--json"];
        let none = [&deliver[..], &["--payment", "paddle:none", "--expect", "0"]].concat();
        let (output, _) = json_of(&site, &settings, &none).await;
        assert!(output.status.success());
        assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");

        let (output, report) =
            json_of(&site, &settings, &[&deliver[..], &["--expect", "101", "--wait", "100ms"]].concat())
                .await;
        assert_eq!((output.status.code(), &report["others"]), (Some(1), &json!(100)), "{report}");
        assert!(report["stopped"].is_string(), "{report}");
    });
}

const EVERYTHING_WRITTEN: &str = "select (select count(*) from inbox where recognised_at is not null)
    + (select count(*) from outcomes) + (select count(*) from transactions) + (select count(*) from events)
    + (select count(*) from dead_letters) + (select count(*) from dead_letter_audit)";

/// What transactions move, but for what is numbered anew whenever it is written.
fn moves(transactions: &Value) -> Vec<[Value; 4]> {
    let of = |transaction: &Value, entry: &Value| {
        let [account, kind] = ["account", "kind"].map(|field| transaction[field].clone());
        [account, kind, entry["book"].clone(), entry["amount"].clone()]
    };
    let transactions = transactions.as_array().unwrap().iter();
    transactions
        .flat_map(|transaction| {
            transaction["entries"].as_array().unwrap().iter().map(move |entry| of(transaction, entry))
        })
        .collect()
}

#[test]
fn a_plan_tells_what_a_replay_then_does_and_does_nothing_itself() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        a_deployment_that_was_upgraded(&site).await;
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let (_, part) = json_of(&site, &settings, &["unrecognised", "plan", "--max", "1", "--json"]).await;
        assert_eq!((&part["found"], &part["planned"]), (&json!(4), &json!(1)), "{part}");
        let arguments = ["unrecognised", "plan", "--processor", "paddle", "--json"];
        let (output, report) = json_of(&site, &settings, &arguments).await;
        assert!(output.status.success(), "{report}");
        assert_eq!((&report["found"], &report["planned"]), (&json!(3), &json!(3)));
        assert_eq!(site.number(EVERYTHING_WRITTEN).await, 0);
        let text = Bursar::run(&site, &settings, &["unrecognised", "plan", "--details"]).await;
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        assert!(text.contains("gate recognised") && text.contains("nothing was changed"), "{text}");

        let (code, _) = replay(&site, &settings, &["--processor", "paddle", "--expect", "3"]).await;
        assert_eq!(code, Some(0));
        for message in report["plan"]["messages"].as_array().unwrap() {
            let part = &message["parts"][0];
            assert_eq!(message["verdict"], json!("would_apply"), "{message}");
            assert_eq!(
                part["outcomes"][0],
                json!({ "worker": "gate", "outcome": "recognised" }),
                "{message}"
            );
            let cause = message["label"].as_str().unwrap();
            let (_, fact) = json_of(&site, &settings, &["fact", "show", cause, "--json"]).await;
            assert!(!moves(&part["transactions"]).is_empty());
            assert_eq!(moves(&part["transactions"]), moves(&fact["transactions"]), "{cause}");
            assert_eq!(part["balances"][0]["after"]["available"], json!("1050"), "{message}");
        }
        fleet.terminate().await;
    });
}

/// The operator's configuration reads the account elsewhere than the fleet's: what it says is another fact.
#[test]
fn what_the_gate_gives_up_on_is_known_as_a_dead_letter_and_everything_is_in_the_audit() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let elsewhere = Configuration::new("live").with("[accounts]\ncustom_data_key = \"user\"\n");
        let other = crate::binary::settings(&elsewhere);
        // By either configuration another account is named.
        let of_two = |number| {
            let mut payload = purchase(number, "a");
            payload["data"]["custom_data"]["user"] = "b".into();
            understood(&payload)
        };
        let facts: Vec<Envelope> = (1..=2).map(of_two).collect();
        admitted_by_an_older_version(&site, &facts).await;
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        for _ in 0..2 {
            // The second time its letter is there already: what counts is that it came again.
            let first =
                ["--expect", "2", "--id", "evt_001", "--id", "evt_002", "--canary", "1", "--by", "ada"];
            let (code, report) = replay(&site, &other, &first).await;
            assert_eq!((code, &report["outcomes"]), (Some(1), &json!({ "dead letter": 1 })), "{report}");
            assert_eq!(report["failed_first"][0]["delivery"], json!("paddle/evt_001"));
        }
        let (code, report) = replay(&site, &settings, &["--expect", "2", "--by", "grace"]).await;
        assert_eq!((code, &report["outcomes"]), (Some(0), &json!({ "applied": 2 })), "{report}");

        let (_, audit) = json_of(&site, &settings, &["dlq", "audit", "--json"]).await;
        let lines = audit["audit"].as_array().unwrap();
        assert!(lines.len() == 3 && lines.iter().all(|line| line["action"] == json!("readmit")), "{audit}");
        assert_eq!((&lines[0]["by"], &lines[0]["letters"]), (&json!("grace"), &json!(2)));
        assert_eq!(lines[0]["result"]["outcomes"], json!({ "applied": 2 }));
        assert_eq!((&lines[2]["by"], &lines[2]["letters"]), (&json!("ada"), &json!(1)));
        assert_eq!(lines[2]["filter"]["ids"], json!(["evt_001", "evt_002"]));
        assert!(lines[2]["result"]["stopped"].is_string(), "{audit}");
        fleet.terminate().await;
    });
}
