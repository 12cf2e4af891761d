//! The gate: every delivery is admitted once, and nobody says more than they may.

use bus::{exchange, queue};
use domain::fact::{Payment, Unrecognised, UnrecognisedWhy};
use domain::{Cause, Envelope, Fact, FactKind, RawDelivery};
use gate::{Door, Gate, Publishers};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use std::collections::{BTreeMap, BTreeSet};
use testkit::facts::{AT, customer, envelope, grant, payment, refund, usage, usd};
use testkit::{Post, Relay, Running, Site, eventually, run};

use crate::payloads::{paddle_payload, translated};

const ADMITTED: &str = "select count(*) from inbox";
const REPEATED: &str = "select coalesce(sum(repeats), 0)::bigint from inbox";

pub fn gate_of(site: &Site, door: Door) -> Gate {
    Gate::new(door, site.namespace.clone(), processors::Settings::default(), site.readers())
}

fn verified(site: &Site) -> Running {
    site.start(gate_of(site, Door::Verified), 1)
}

fn inbound(site: &Site, rights: &[(&str, FactKind)]) -> Running {
    let mut publishers = Publishers::default();
    for (user, kind) in rights {
        publishers.rights.entry((*user).to_owned()).or_default().insert(*kind);
    }
    site.start(gate_of(site, Door::Inbound(publishers)), 1)
}

fn ids(facts: &[Envelope]) -> Vec<&str> {
    facts.iter().map(|fact| fact.cause.id.as_str()).collect()
}

#[test]
fn a_delivery_is_admitted_once_however_many_gates_and_lanes_there_are() {
    run(async |site| {
        let distinct: Vec<Envelope> = (0..400)
            .map(|number| envelope(&format!("paddle/evt_{number}"), usage("a", 1 + number)))
            .collect();
        let mut copies = [distinct.clone(), distinct.clone(), distinct].concat();
        copies.shuffle(&mut rand::rngs::StdRng::seed_from_u64(1));
        let gates = [(); 2].map(|()| site.start(gate_of(&site, Door::Verified), 2));
        for some in copies.chunks(23) {
            site.state(exchange::VERIFIED, some.to_vec()).await;
        }
        site.until(REPEATED, 800).await;
        site.until(ADMITTED, 400).await;
        for gate in gates {
            gate.stop().await;
        }
        let passed_on = site.take_facts(ledger::QUEUE).await;
        let causes: BTreeSet<&Cause> = passed_on.iter().map(|fact| &fact.cause).collect();
        assert_eq!((causes.len(), passed_on.len()), (400, 400));
        assert_eq!(site.number("select count(*) from inbox where repeats = 2").await, 400);
        assert_eq!(site.dead_letters().await, []);
    });
}

#[test]
fn a_gate_that_lost_its_broker_after_the_commit_admits_nothing_twice() {
    run(async |site| {
        let relay = Relay::to(secrecy::ExposeSecret::expose_secret(&site.amqp_url), 5672);
        let url = relay.url(secrecy::ExposeSecret::expose_secret(&site.amqp_url));
        let consume = bus::Broker::new(url.into(), "by the relay");
        // Whoever holds the table holds up the gate in the middle of its batch.
        let mut holder = site.owner.begin().await.unwrap();
        sqlx::query("lock table inbox in access exclusive mode").execute(&mut *holder).await.unwrap();
        let gate = std::sync::Arc::new(gate_of(&site, Door::Verified));
        let running = site.start_with(gate, 1, bus::Context { consume, ..site.context() });
        site.state(exchange::VERIFIED, vec![envelope("paddle/evt_1", usage("a", 1))]).await;
        eventually("the gate to wait for the table", async || {
            let waiting = site
                .number("select count(*) from pg_locks where not granted and relation = 'inbox'::regclass");
            (waiting.await > 0).then_some(())
        })
        .await;
        relay.cut();
        holder.commit().await.unwrap();
        site.until(REPEATED, 1).await;
        running.stop().await;
        assert_eq!(site.number(ADMITTED).await, 1);
        assert_eq!(ids(&site.take_facts(ledger::QUEUE).await), ["evt_1"]);
        assert_eq!(site.depth(queue::GATE).await, 0);
    });
}

#[test]
fn the_same_identity_with_other_content_is_a_dead_letter_that_names_what_differs() {
    run(async |site| {
        let running = verified(&site);
        let first = envelope("paddle/evt_1", Fact::Payment(payment("txn_1", "acct_1")));
        let other = Payment { amount: usd(999), ..payment("txn_1", "acct_1") };
        let other = envelope("paddle/evt_1", Fact::Payment(other));
        site.state_each(exchange::VERIFIED, vec![first.clone(), other.clone(), first.clone()]).await;
        let letter = site.dead_lettered(1).await.remove(0);
        site.until("select count(*) from inbox where repeats > 0", 1).await;
        site.until_depth(queue::GATE, 0).await;
        running.stop().await;
        assert_eq!(site.number(REPEATED).await, 1, "a conflict is a dead letter and no repeat");

        assert_eq!((letter.worker.as_str(), letter.code.as_str()), ("gate", "conflict"));
        // No more than that: the reason is kept and shown where what a fact says of a person is not.
        assert_eq!(letter.reason, "expected what was admitted under paddle/evt_1, got another amount.amount");
        assert_eq!(letter.body, other.to_json());
        assert_eq!(ids(&site.take_facts(ledger::QUEUE).await), ["evt_1"], "the first is admitted, once");
    });
}

#[test]
fn a_replay_under_a_new_notification_id_is_a_repeat() {
    run(async |site| {
        let running = verified(&site);
        let mut payload = paddle_payload("transaction.completed");
        site.state(exchange::VERIFIED, translated("paddle", &payload)).await;
        payload["notification_id"] = "ntf_replayed".into();
        site.state(exchange::VERIFIED, translated("paddle", &payload)).await;
        site.until(REPEATED, 1).await;
        running.stop().await;
        assert_eq!(site.number(ADMITTED).await, 1);
        assert_eq!(site.dead_letters().await, []);
    });
}

#[test]
fn a_repeat_after_an_upgrade_of_the_translation_is_compared_by_todays_code() {
    run(async |site| {
        let fact = translated("paddle", &paddle_payload("transaction.completed")).remove(0);
        let body = fact.raw.clone().unwrap().body;
        admitted_by_an_older_version(&site, &fact, Some(&body)).await;
        let erased = translated("paddle", &paddle_payload("transaction.paid")).remove(0);
        admitted_by_an_older_version(&site, &erased, None).await;

        let running = verified(&site);
        site.state_each(exchange::VERIFIED, vec![fact, erased.clone()]).await;
        let letter = site.dead_lettered(1).await.remove(0);
        running.stop().await;
        assert_eq!(letter.code, "conflict", "without its body nobody can tell whether it says the same");
        assert!(letter.body.contains(&erased.cause.id));
        assert_eq!(site.take(ledger::QUEUE).await, []);
    });
}

/// As if another version had translated the delivery, into a fact with other words.
async fn admitted_by_an_older_version(site: &Site, fact: &Envelope, body: Option<&[u8]>) {
    sqlx::query(
        "insert into inbox (source, id, kind, hash, fact, time, admitted_at)
         values ($1, $2, 'fact.payment', sha256('older'), '{\"older\": true}', now(), now())",
    )
    .bind(&fact.cause.source)
    .bind(&fact.cause.id)
    .execute(&site.owner)
    .await
    .unwrap();
    let Some(body) = body else { return };
    sqlx::query("insert into raw_deliveries (source, id, body, received_at) values ($1, $2, $3, now())")
        .bind(&fact.cause.source)
        .bind(&fact.cause.id)
        .bind(body)
        .execute(&site.owner)
        .await
        .unwrap();
}

#[test]
fn a_raw_body_is_kept_apart_and_can_be_erased_without_the_proof() {
    run(async |site| {
        let running = verified(&site);
        let body = b"Ada Lovelace <ada@example.com>".to_vec();
        let fact = envelope("paddle/evt_1", usage("a", 1));
        let delivery =
            Envelope { raw: Some(RawDelivery { body: body.clone() }), received_at: Some(AT), ..fact.clone() };
        site.state(exchange::VERIFIED, vec![delivery.clone()]).await;
        site.until(ADMITTED, 1).await;

        let mut connection = site.pool.acquire().await.unwrap();
        let kept = gate::raw_body(&mut connection, &fact.cause).await.unwrap().unwrap();
        assert_eq!((kept.body, kept.received_at), (body, AT));
        let passed_on = site.take_facts(ledger::QUEUE).await;
        assert_eq!(
            passed_on,
            [Envelope { received_at: Some(AT), ..fact.clone() }],
            "the body goes no further"
        );

        assert!(gate::erase(&mut connection, &fact.cause).await.unwrap());
        assert!(!gate::erase(&mut connection, &fact.cause).await.unwrap());
        assert!(gate::raw_body(&mut connection, &fact.cause).await.unwrap().is_none());
        site.state(exchange::VERIFIED, vec![delivery]).await;
        site.until(REPEATED, 1).await;
        running.stop().await;
        assert!(
            gate::raw_body(&mut connection, &fact.cause).await.unwrap().is_none(),
            "a repeat brings none back"
        );
        assert_eq!(site.number(ADMITTED).await, 1);
    });
}

#[test]
fn raw_bodies_are_purged_by_age() {
    run(async |site| {
        let running = verified(&site);
        let deliveries = (0..5).map(|day| Envelope {
            raw: Some(RawDelivery { body: b"x".to_vec() }),
            received_at: Some(AT + time::Duration::days(day)),
            ..envelope(&format!("paddle/evt_{day}"), usage("a", 1))
        });
        site.state(exchange::VERIFIED, deliveries.collect()).await;
        site.until("select count(*) from raw_deliveries", 5).await;
        running.stop().await;
        let mut connection = site.pool.acquire().await.unwrap();
        let before = AT + time::Duration::days(3);
        assert_eq!(gate::purge(&mut connection, before, 2).await.unwrap(), 2, "a limit is a limit");
        assert_eq!(gate::purge(&mut connection, before, 100).await.unwrap(), 1);
        assert_eq!(site.number("select count(*) from raw_deliveries").await, 2);
        assert_eq!(site.number(ADMITTED).await, 5);
    });
}

#[test]
fn a_publisher_says_on_inbound_what_it_may_and_nothing_else() {
    run(async |site| {
        let user = site.amqp_user();
        let running = inbound(&site, &[(&user, FactKind::Usage), (&user, FactKind::Customer)]);
        let dispute = translated("paddle", &paddle_payload("adjustment.created.chargeback")).remove(1).fact;
        let wrong = [
            ("shop/payment", Fact::Payment(payment("txn_1", "a")), true),
            ("shop/movement", Fact::Movement(refund("adj_1", "txn_1", 1)), true),
            ("shop/dispute", dispute, true),
            ("shop/unrecognised", unrecognised(), true),
            ("shop/grant", grant("a", 1), true),
            ("shop/nobody", usage("a", 1), false),
            ("paddle/reserved", usage("a", 1), true),
            ("operator/root/reserved", usage("a", 1), true),
        ];
        for (cause, fact, named) in wrong.clone() {
            say(&site, &envelope(cause, fact), named.then_some(&user)).await;
        }
        say(&site, &envelope("shop/usage", usage("a", 1)), Some(&user)).await;
        say(&site, &envelope("shop/customer", customer("paddle:ctm_1", "a")), Some(&user)).await;
        let letters = site.dead_lettered(wrong.len()).await;
        site.until(ADMITTED, 2).await;
        running.stop().await;

        for ((cause, ..), letter) in wrong.iter().zip(&letters) {
            assert_eq!(
                (letter.code.as_str(), letter.worker.as_str()),
                ("forbidden", "gate"),
                "{cause}: {letter:?}"
            );
            let id = cause.rsplit('/').next().unwrap();
            assert!(letter.body.contains(&format!(r#""id":"{id}""#)), "{cause}: {letter:?}");
        }
        let mut passed_on = site.take_facts(ledger::QUEUE).await;
        passed_on.sort_by(|a, b| a.cause.cmp(&b.cause));
        assert_eq!(ids(&passed_on), ["customer", "usage"]);
    });
}

#[test]
fn without_publishers_anyone_may_state_usage_and_nobody_a_grant() {
    run(async |site| {
        let running = inbound(&site, &[]);
        say(&site, &envelope("shop/1", usage("a", 1)), None).await;
        say(&site, &envelope("shop/2", grant("a", 1)), None).await;
        assert_eq!(site.dead_lettered(1).await[0].code, "forbidden");
        site.until(ADMITTED, 1).await;
        running.stop().await;
    });
}

#[test]
fn no_raw_body_of_a_publisher_is_kept() {
    run(async |site| {
        let running = inbound(&site, &[]);
        let smuggled = RawDelivery { body: b"unchecked".to_vec() };
        say(&site, &Envelope { raw: Some(smuggled), ..envelope("shop/1", usage("a", 1)) }, None).await;
        site.until(ADMITTED, 1).await;
        running.stop().await;
        assert_eq!(site.number("select count(*) from raw_deliveries").await, 0);
    });
}

#[test]
fn one_bad_element_of_a_batch_does_not_hold_up_the_others() {
    run(async |site| {
        let running = inbound(&site, &[]);
        let element = |id: &str, credits: &str| {
            let text = envelope(&format!("shop/{id}"), usage("a", 7)).to_json();
            text.replace("\"7\"", credits)
        };
        let batch = [
            element("good_1", "\"1\""),
            element("negative", "\"-1\""),
            element("float", "1.5"),
            element("precise", "\"0.0000001\""),
            envelope("shop/other_kind", grant("a", 1)).to_json(),
            "17".to_owned(),
            element("good_2", "\"2\""),
        ];
        post(&site, domain::envelope::CONTENT_TYPE_BATCH, &format!("[{}]", batch.join(",")), None).await;
        let letters = site.dead_lettered(5).await;
        site.until(ADMITTED, 2).await;
        running.stop().await;
        assert!(letters.iter().all(|letter| letter.code == "malformed"), "{letters:#?}");
        let bodies: BTreeSet<&str> = letters.iter().map(|letter| letter.body.as_str()).collect();
        assert!(bodies.contains("17") && bodies.contains(batch[1].as_str()), "{bodies:?}");
        let mut passed_on = site.take_facts(ledger::QUEUE).await;
        passed_on.sort_by(|a, b| a.cause.cmp(&b.cause));
        assert_eq!(ids(&passed_on), ["good_1", "good_2"]);
    });
}

#[test]
fn what_is_no_fact_is_dead_lettered_whole() {
    run(async |site| {
        let running = inbound(&site, &[]);
        let single = domain::envelope::CONTENT_TYPE;
        let batch = domain::envelope::CONTENT_TYPE_BATCH;
        let wrong = [
            (single, "not json"),
            (single, "[]"),
            (single, "{}"),
            (batch, "{}"),
            (batch, "[]"),
            ("text/plain", ""),
        ];
        for (content_type, body) in wrong {
            post(&site, content_type, body, None).await;
        }
        let letters = site.dead_lettered(wrong.len()).await;
        running.stop().await;
        for ((content_type, body), letter) in wrong.iter().zip(&letters) {
            let got = (letter.code.as_str(), letter.body.as_str(), letter.content_type.as_deref());
            assert_eq!(got, ("malformed", *body, Some(*content_type)));
            assert!(letter.reason.contains("expected"), "it says what was expected: {}", letter.reason);
        }
    });
}

/// What a platform's service may write into a text must not break who reads it later.
#[test]
fn strange_texts_and_times_are_refused_or_do_no_harm() {
    run(async |site| {
        let rules = domain::ledger::Rules::new(testkit::facts::catalog());
        let workers =
            [inbound(&site, &[]), site.start(ledger::Ledger::new(site.namespace.clone(), rules), 1)];
        let texts =
            ["\\u0000", "\\u0007\\n", "\\ud83d\\ude00", "'; drop table inbox; --", "\\\\", "{}", "%s%n"];
        let times = ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "2026-11-20T10:00:00+23:59"];
        let event = |id: usize, text: &str, time: &str| {
            format!(
                r#"{{"specversion":"1.0","type":"fact.usage","source":"shop","id":"strange_{id}","time":"{time}",
                    "data":{{"account":"a","credits":"1","reference":"{text}","description":"{text}"}}}}"#
            )
        };
        let mut count = 0;
        for text in texts {
            for time in times {
                count += 1;
                post(&site, domain::envelope::CONTENT_TYPE, &event(count, text, time), None).await;
            }
        }
        let mut refused = 0;
        eventually("each to be settled or refused", async || {
            refused += site.dead_letters().await.len();
            let settled = site.number("select count(*) from outcomes where outcome = 'applied'").await;
            (settled as usize + refused == count).then_some(())
        })
        .await;
        for worker in workers {
            worker.stop().await;
        }
        assert!(refused <= times.len(), "at most the text that Postgres cannot keep: {refused}");
        let report = ledger::verify::verify(
            &site.pool,
            6,
            None,
            &facts::Readers::of(&site.topology, &site.namespace),
            &mut |_| {},
        )
        .await
        .unwrap();
        assert!(report.ok, "{report:#?}");
    });
}

#[test]
fn facts_that_nobody_reads_are_kept_and_passed_to_nobody() {
    run(async |site| {
        let running = verified(&site);
        site.state(exchange::VERIFIED, vec![envelope("paddle/evt_1", unrecognised())]).await;
        site.state(exchange::VERIFIED, vec![envelope("paddle/evt_2", usage("a", 1))]).await;
        site.until(ADMITTED, 2).await;
        running.stop().await;
        assert_eq!(ids(&site.take_facts(ledger::QUEUE).await), ["evt_2"]);
        assert_eq!(
            site.texts("select kind from inbox order by id").await,
            ["fact.unrecognised", "fact.usage"]
        );
    });
}

fn unrecognised() -> Fact {
    Fact::Unrecognised(Unrecognised {
        processor: "paddle".to_owned(),
        event_type: "address.created".to_owned(),
        why: UnrecognisedWhy::EventType,
        detail: None,
    })
}

async fn say(site: &Site, fact: &Envelope, user: Option<&String>) {
    post(site, domain::envelope::CONTENT_TYPE, &fact.to_json(), user).await;
}

async fn post(site: &Site, content_type: &str, body: &str, user: Option<&String>) {
    site.post(Post {
        exchange: exchange::INBOUND,
        routing_key: "fact.usage".to_owned(),
        message_id: None,
        content_type: Some(content_type.to_owned()),
        user_id: user.cloned(),
        headers: BTreeMap::new(),
        body: body.as_bytes().to_vec(),
    })
    .await;
}
