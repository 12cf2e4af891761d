//! Hand-overs: a reader that came later has every fact of its kind once, in order of time, while new ones flow; whatever is
//! killed, and however many take part.
//!
//! `BURSAR_TEST_HAND_OVER=100000` says how many facts were admitted before; its figures:
//! `cargo test -p fleet-tests hand_over -- --nocapture`.

#![expect(clippy::print_stdout, reason = "seeds and figures are there to be printed")]

use crate::binary::{Configuration, json_of, settings};
use bus::{Decoded, Incoming, Publisher, Queue, Settled, Topology, Verdict, exchange};
use db::Work;
use domain::{Envelope, FactKind, Outcome};
use facts::hand_over::{HandOver, HandOverOrder, HandOverState, HandOverStep, HandOvers, STEP};
use facts::outcomes::Settlements;
use facts::{Readers, readers_known};
use gate::{Door, Gate};
use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::facts::{AT, customer, envelope};
use testkit::{Bursar, Site, run_within, within};
use time::OffsetDateTime;
use tokio::time::Instant;

/// Facts that were admitted before their reader existed.
const BEFORE: usize = 3_000;

/// Facts of one message to the gate.
const PACKED: usize = 500;

const LIMIT: Duration = Duration::from_secs(300);

fn before() -> usize {
    std::env::var("BURSAR_TEST_HAND_OVER").map_or(BEFORE, |text| text.parse().expect("a number"))
}

/// A worker that nobody knew when the facts were admitted.
struct Late;

impl bus::Worker for Late {
    const NAME: &'static str = "late";
    const PREFETCH: u16 = 4;
    const CODES: &'static [&'static str] = &[facts::MALFORMED];

    type Item = Envelope;
    type Error = ::gate::Error;

    fn queue(&self) -> &'static str {
        "late"
    }

    fn decode(&self, message: &Incoming, now: OffsetDateTime) -> Vec<Decoded<Envelope>> {
        assert_eq!(
            message.exchange.rsplit('.').next(),
            Some(exchange::FACTS),
            "as if it came by its exchange"
        );
        assert_eq!(message.routing_key, "fact.customer");
        facts::decode(message, now)
    }

    fn encode(&self, envelope: &Envelope) -> (&'static str, Vec<u8>) {
        facts::encode(envelope)
    }

    fn received_at(&self, envelope: &Envelope) -> Option<OffsetDateTime> {
        envelope.received_at
    }

    async fn handle(&self, work: &mut Work, envelopes: &[Envelope]) -> Result<Settled, Self::Error> {
        let mut settlements = Settlements::begin(work, "late", envelopes).await?;
        let mut verdicts = Vec::new();
        for fact in envelopes {
            verdicts.push(Verdict::Done(match settlements.is_settled(&fact.cause) {
                true => Outcome::Repeated,
                false => {
                    settlements.settle(fact, Outcome::Applied, None);
                    Outcome::Applied
                }
            }));
        }
        settlements.save(work, None).await?;
        Ok(Settled { verdicts, ..Settled::default() })
    }
}

/// Customers that were told of one minute after the other, in any order.
fn customers(name: &str, count: usize, first: OffsetDateTime) -> Vec<Envelope> {
    let mut customers: Vec<Envelope> = (0..count)
        .map(|number| {
            let fact = customer(&format!("paddle:ctm_{name}_{number}"), &format!("acct_{}", number % 100));
            let cause = format!("paddle/{name}_{number:06}");
            Envelope { time: first + time::Duration::minutes(number as i64), ..envelope(&cause, fact) }
        })
        .collect();
    let seed: u64 = rand::random();
    println!("seed {seed}");
    customers.shuffle(&mut StdRng::seed_from_u64(seed));
    customers
}

async fn admit(site: &Site, facts: Vec<Envelope>) {
    for facts in facts.chunks(PACKED) {
        site.state(exchange::VERIFIED, facts.to_vec()).await;
    }
}

fn gate(site: &Site) -> Gate {
    Gate::new(Door::Verified, site.namespace.clone(), processors::Settings::default(), site.readers())
}

/// The fleet's topology with one worker more. Its queue goes by itself, should the test not come to its end.
async fn with_late(site: &Site) -> Topology {
    let (queue, facts) = (site.namespace.name("late"), site.namespace.name(exchange::FACTS));
    let channel = site.broker.channel().await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-expires".into(), AMQPValue::LongInt(600_000));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.as_str().into(), options, arguments).await.unwrap();
    let (name, to, key) = (queue.as_str().into(), facts.as_str().into(), "fact.customer".into());
    channel.queue_bind(name, to, key, QueueBindOptions::default(), FieldTable::default()).await.unwrap();
    let mut topology = site.topology.clone();
    let like = topology.queues.iter().find(|queue| queue.reader == Some("ledger")).unwrap();
    let mut late: Queue = like.clone();
    (late.name, late.reader) = (queue.clone(), Some("late"));
    topology.queues.push(late);
    let binding = bus::Binding { exchange: facts, routing_key: "fact.customer", queue };
    topology.bindings.push(binding);
    topology
}

async fn hand_overs(site: &Site, topology: Topology) -> HandOvers {
    let readers = Readers::of(&topology, &site.namespace);
    let mut connection = site.pool.acquire().await.unwrap();
    readers_known(&mut connection, &readers, OffsetDateTime::now_utc()).await.unwrap();
    HandOvers {
        pool: site.pool.clone(),
        namespace: site.namespace.clone(),
        topology,
        broker: site.broker.clone(),
        publisher: Publisher::spawn(site.broker.clone(), Duration::from_secs(5)),
    }
}

const TO_LATE: HandOverOrder<'_> = HandOverOrder { kind: FactKind::Customer, reader: "late", by: "ada" };

/// To its end, in steps of any size.
async fn hand_over(hand_overs: &HandOvers, mut hand_over: HandOver) -> HandOver {
    let mut random = StdRng::from_rng(&mut rand::rng());
    while hand_over.state == HandOverState::Running {
        match hand_overs.step(&hand_over, random.random_range(STEP / 2..=STEP)).await.unwrap() {
            HandOverStep::Went(now) => hand_over = now,
            HandOverStep::QueueIsFull(_) | HandOverStep::Draining(_) | HandOverStep::InHand => {
                tokio::time::sleep(Duration::from_millis(20)).await
            }
        }
    }
    hand_over
}

fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}

#[test]
fn a_reader_that_came_later_settles_what_was_there_once_in_order_of_time_while_new_facts_flow() {
    let count = before();
    run_within(LIMIT, async |site| {
        let admitting = site.start(gate(&site), 1);
        admit(&site, customers("old", count, AT)).await;
        within(LIMIT, "everything to be admitted", async || {
            (site.number("select count(*) from inbox").await == count as i64).then_some(())
        })
        .await;
        let began = Instant::now();

        let hand_overs = hand_overs(&site, with_late(&site).await).await;
        // What an operator has given up on at this reader is not given to it.
        let forgo = "insert into forgone_facts (worker, source, id, closed_at, closed_by)
                     values ('late', 'paddle', 'old_000007', now(), 'ada')";
        sqlx::raw_sql(forgo).execute(&site.owner).await.unwrap();
        assert_eq!(hand_overs.readers_to_serve(FactKind::Customer).await.unwrap(), ["late"]);
        let late = site.start(Late, 1);
        let begun = hand_overs.begin(&TO_LATE, OffsetDateTime::now_utc()).await.unwrap();
        println!("{} facts listed at {:.1?}", begun.facts, began.elapsed());
        let again = hand_overs.begin(&TO_LATE, OffsetDateTime::now_utc()).await.unwrap();
        assert_eq!(again, begun, "who begins it again goes on with it");
        let new = customers("new", count / 10, AT + time::Duration::days(3650));
        // Two at once, and new facts beside them.
        let (one, other, ()) = tokio::join!(
            hand_over(&hand_overs, begun.clone()),
            hand_over(&hand_overs, begun),
            admit(&site, new)
        );
        println!("handed over at {:.1?}", began.elapsed());
        assert_eq!(one, other);
        assert_eq!((one.facts, one.handed_over, one.left_out), (count as i64, count as i64 - 1, 1));

        let all = (count + count / 10 - 1) as i64;
        within(LIMIT, "everything to be settled", async || {
            let settled = site.number("select count(*) from outcomes where reader = 'late'").await;
            (settled == all).then_some(())
        })
        .await;
        println!("settled at {:.1?}, memory at its most {:?} MiB", began.elapsed(), peak_mib());
        let in_order = "select id from outcomes where reader = 'late' and id like 'old%' order by position";
        let in_order = site.texts(in_order).await;
        assert!(in_order.is_sorted(), "in order of time");
        assert_eq!(site.depth("late").await, 0);
        assert!(hand_overs.readers_to_serve(FactKind::Customer).await.unwrap().is_empty());
        assert_eq!(site.number("select count(*) from hand_over_facts").await, 0);

        let again = hand_overs.begin(&TO_LATE, OffsetDateTime::now_utc()).await.unwrap();
        assert_eq!(again.facts, 1, "what was given up on");
        let again = hand_over(&hand_overs, again).await;
        assert_eq!((again.handed_over, again.left_out), (0, 1), "nothing twice");
        late.stop().await;
        admitting.stop().await;
        site.delete_queue("late").await;
    });
}

/// What went out is not expected from its reader before it has settled it all; a reader that goes and comes back is a new one.
#[test]
fn a_hand_over_is_finished_once_its_reader_has_settled_it() {
    run_within(LIMIT, async |site| {
        let admitting = site.start(gate(&site), 1);
        admit(&site, customers("old", 20, AT)).await;
        site.until("select count(*) from inbox", 20).await;
        admitting.stop().await;
        let hand_overs = hand_overs(&site, with_late(&site).await).await;
        let waits = "select count(*) from readers where reader = 'late' and since > '-infinity'";
        let mut begun = hand_overs.begin(&TO_LATE, OffsetDateTime::now_utc()).await.unwrap();
        for handed_over in [15, 20] {
            let HandOverStep::Went(went) = hand_overs.step(&begun, 15).await.unwrap() else { panic!() };
            assert_eq!((went.handed_over, went.state), (handed_over, HandOverState::Running));
            begun = went;
        }
        let HandOverStep::Draining(draining) = hand_overs.step(&begun, 15).await.unwrap() else { panic!() };
        assert_eq!((draining.settled, draining.hand_over.state), (0, HandOverState::Running));
        assert_eq!(draining.depth.unwrap().consumers, 0);
        assert_eq!(site.number(waits).await, 1);

        let late = site.start(Late, 1);
        assert_eq!(hand_over(&hand_overs, begun).await.handed_over, 20);
        let settled = "select count(*) from outcomes where reader = 'late'";
        assert_eq!((site.number(settled).await, site.number(waits).await), (20, 0));
        assert!(hand_overs.readers_to_serve(FactKind::Customer).await.unwrap().is_empty());
        late.stop().await;

        let mut connection = site.pool.acquire().await.unwrap();
        for readers in [site.readers(), Readers::of(&hand_overs.topology, &site.namespace)] {
            readers_known(&mut connection, &readers, OffsetDateTime::now_utc()).await.unwrap();
        }
        assert_eq!(site.number(waits).await, 1);
        site.delete_queue("late").await;
    });
}

/// Somebody purges the reader's queue, or a broker loses it: what is left goes out again, and nothing is settled twice.
#[test]
fn what_vanished_from_the_readers_queue_is_handed_over_again() {
    run_within(LIMIT, async |site| {
        let admitting = site.start(gate(&site), 1);
        admit(&site, customers("old", 20, AT)).await;
        site.until("select count(*) from inbox", 20).await;
        admitting.stop().await;
        let hand_overs = hand_overs(&site, with_late(&site).await).await;
        let mut begun = hand_overs.begin(&TO_LATE, OffsetDateTime::now_utc()).await.unwrap();
        let again = hand_overs.again(&begun).await.unwrap();
        assert_eq!(again, HandOverStep::Went(begun.clone()), "it has not all gone out");
        for _ in 0..4 {
            let HandOverStep::Went(went) = hand_overs.step(&begun, 5).await.unwrap() else { panic!() };
            begun = went;
        }
        let again = hand_overs.again(&begun).await.unwrap();
        assert!(matches!(again, HandOverStep::QueueIsFull(_)), "its messages wait: {again:?}");
        let taken = site.take_facts("late").await;
        assert_eq!(taken.len(), 20);
        let HandOverStep::Draining(draining) = hand_overs.step(&begun, 5).await.unwrap() else { panic!() };
        assert_eq!((draining.settled, draining.gone), (0, 0));
        let late = site.start(Late, 1);
        // Some of them come to the reader after all.
        site.state(exchange::FACTS, taken[10..15].to_vec()).await;
        site.until("select count(*) from outcomes where reader = 'late'", 5).await;

        let HandOverStep::Went(listed) = hand_overs.again(&begun).await.unwrap() else { panic!() };
        assert!(listed.facts > 20 && listed.state == HandOverState::Running, "{listed:?}");
        let done = hand_over(&hand_overs, listed).await;
        assert_eq!(
            (done.facts, done.handed_over, done.left_out),
            (40, 35, 5),
            "what was settled is left out"
        );
        let settled = "select count(*) from outcomes where reader = 'late'";
        assert_eq!(site.number(settled).await, 20);
        let again = hand_overs.again(&done).await.unwrap();
        assert_eq!(again, HandOverStep::Went(done), "it is finished");
        late.stop().await;
        site.delete_queue("late").await;
    });
}

#[test]
fn a_hand_over_that_is_killed_goes_on_where_it_stopped_and_two_at_once_are_one() {
    let count = BEFORE as i64;
    run_within(LIMIT, async |site| {
        let admitting = site.start(gate(&site), 1);
        admit(&site, customers("old", BEFORE, AT)).await;
        site.until("select count(*) from inbox", count).await;
        admitting.stop().await;
        // The ledger never had them.
        let lost = site.take(ledger::QUEUE).await;
        assert!(!lost.is_empty());
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let hand_over = ["facts", "hand-over", "--kind", "fact.customer", "--to", "ledger", "--json"];

        let slow = [&hand_over[..], &["--rate", "3000/s", "--by", "ada"]].concat();
        let mut killed = Bursar::spawn(&site, &settings, &slow);
        within(LIMIT, "some of it to be handed over", async || {
            let handed_over = "select coalesce(max(handed_over), 0)::bigint from hand_overs";
            (site.number(handed_over).await >= 500).then_some(())
        })
        .await;
        killed.kill().await.unwrap();
        assert_eq!(site.number("select count(*) from hand_overs where state = 'running'").await, 1);

        // It is finished once the ledger has settled them.
        let ledger = Bursar::start(&site, &settings, &["run", "ledger"]).await;
        let ((one, first), (other, second)) =
            tokio::join!(json_of(&site, &settings, &hand_over), json_of(&site, &settings, &hand_over));
        assert!(one.status.success() && other.status.success(), "{first:#} {second:#}");
        assert_eq!(site.number("select count(*) from hand_overs where state = 'finished'").await, 1);
        let done: &Value = &first["hand_overs"][0];
        assert_eq!(done, &second["hand_overs"][0]);
        assert_eq!(
            (&done["by"], &done["facts"], &done["handed_over"], &done["state"]),
            (&json!("ada"), &json!(count), &json!(count), &json!("finished"))
        );

        assert_eq!(site.number("select count(*) from outcomes where reader = 'ledger'").await, count);
        assert!(ledger.terminate().await.success());
        let (output, again) = json_of(&site, &settings, &hand_over).await;
        assert!(output.status.success(), "{again:#}");
        assert_eq!(again["hand_overs"][0]["facts"], json!(0), "nothing is left");
        let (output, report) = json_of(&site, &settings, &["ledger", "verify", "--json"]).await;
        assert!(output.status.success(), "{report:#}");
    });
}

#[test]
fn who_does_not_read_a_kind_is_given_none_of_it() {
    run_within(LIMIT, async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let check = async |arguments: &[&str], status: i32, expect: &str| {
            let output = Bursar::run(&site, &settings, &[&["facts", "hand-over"], arguments].concat()).await;
            let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
            assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
            assert!(said.contains(expect), "{arguments:?}: {said}");
        };
        check(&["--kind", "fact.unrecognised"], 1, "no worker reads fact.unrecognised").await;
        check(&["--kind", "fact.usage", "--to", "gate"], 1, "gate does not read fact.usage").await;
        check(&["--kind", "usage"], 2, "expected a kind of facts").await;
        check(&["--kind", "fact.usage"], 0, "nothing to hand over").await;
    });
}
