//! The retry ladder: what failed for a reason that nobody foresaw is tried again, alone, as it first came; then it is a dead
//! letter. And what ends the process is found, and nobody else blamed.

use crate::door::{self, signed};
use crate::payloads::paddle_payload;
use bus::{
    Attempt, Context, Decoded, Fate, Fated, Incoming, Ladder, Message, Settled, Verdict, Worker, exchange,
    header, queue,
};
use db::{Doing, Work};
use domain::FactKind;
use gate::{Door, Gate, Publishers};
use ingester::RawQueue;
use secrecy::ExposeSecret;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::facts::{envelope, grant};
use testkit::{DeadLetter, Mortal, Post, Relay, Site, eventually, run, within};
use time::OffsetDateTime;
use tokio::sync::Semaphore;

/// The rungs of a worker in a test, see `testkit`.
const RUNGS: [&str; 2] = ["retry.50ms", "retry.150ms"];

const SEEN: &str = "select item from seen order by item";
const SEEN_COUNT: &str = "select count(*) from seen";
const SEEN_ONCE: &str = "select count(distinct item) from seen";
const SUSPECTS: &str = "select count(*) from suspects";

/// A worker whose items say what happens: `<verb> <name> <times>`, one in each line of a message. What is settled is a row
/// of `seen`.
struct Steps<const PREFETCH: u16 = 10, const GIVES_UP: bool = true> {
    /// Of each item alone.
    attempts: Mutex<BTreeMap<String, u32>>,
    read: Reads,
    /// A permit for each time that it has come to an item `die`.
    entered: Semaphore,
    /// How often it may pass one `wait`.
    pass: Semaphore,
    /// How often the reading of `unreadable` ends.
    released: Semaphore,
}

/// What was read, and for when.
type Reads = Mutex<Vec<(Incoming, OffsetDateTime)>>;

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Database(#[from] db::Error),
    #[error("nobody foresaw {0}")]
    Unknown(String),
}

impl Fated for Failed {
    fn fate(&self) -> Fate {
        match self {
            Failed::Database(error) => error.fate(),
            Failed::Unknown(_) => Fate::Unknown,
        }
    }
}

impl<const PREFETCH: u16, const GIVES_UP: bool> Steps<PREFETCH, GIVES_UP> {
    async fn on(site: &Site) -> Arc<Self> {
        sqlx::query(
            "create table seen (item text not null, at timestamptz not null default clock_timestamp())",
        )
        .execute(&site.owner)
        .await
        .unwrap();
        Self::again()
    }

    /// On a site that has its table.
    fn again() -> Arc<Self> {
        Arc::new(Self {
            attempts: Mutex::default(),
            read: Mutex::default(),
            entered: Semaphore::new(0),
            pass: Semaphore::new(0),
            released: Semaphore::new(0),
        })
    }

    fn attempts(&self, item: &str) -> u32 {
        self.attempts.lock().unwrap().get(item).copied().unwrap_or_default()
    }

    /// Goes well once it was tried alone more often than it says.
    async fn step(&self, item: &str, is_alone: bool) -> Result<(), Failed> {
        let attempt = {
            let mut attempts = self.attempts.lock().unwrap();
            let count = attempts.entry(item.to_owned()).or_default();
            *count += u32::from(is_alone);
            *count
        };
        let mut words = item.split(' ');
        let (verb, _, times) = (words.next(), words.next(), words.next());
        let fails = !is_alone || attempt <= times.map_or(0, |times| times.parse().unwrap());
        match verb {
            Some("unknown") if fails => Err(Failed::Unknown(item.to_owned())),
            Some("panic") if fails => panic!("no way to do {item}"),
            Some("hang") if fails => std::future::pending().await,
            Some("die") => {
                self.entered.add_permits(1);
                std::future::pending().await
            }
            Some("wait") => {
                self.entered.add_permits(1);
                self.pass.acquire().await.unwrap().forget();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn reads(&self) -> Vec<(Incoming, OffsetDateTime)> {
        self.read.lock().unwrap().clone()
    }
}

impl<const PREFETCH: u16, const GIVES_UP: bool> Worker for Steps<PREFETCH, GIVES_UP> {
    const NAME: &'static str = "ledger";
    const PREFETCH: u16 = PREFETCH;
    const CODES: &'static [&'static str] = &[];
    const GIVES_UP: bool = GIVES_UP;

    type Item = String;
    type Error = Failed;

    fn queue(&self) -> &'static str {
        ledger::QUEUE
    }

    fn decode(&self, message: &Incoming, now: OffsetDateTime) -> Vec<Decoded<String>> {
        self.read.lock().unwrap().push((message.clone(), now));
        let text = String::from_utf8(message.body.clone()).unwrap();
        // The thread is held until its process has died.
        while text.contains("unreadable")
            && self.released.try_acquire().map(|permit| permit.forget()).is_err()
        {
            std::thread::sleep(Duration::from_millis(10));
        }
        text.lines().map(|line| Decoded::Item(line.to_owned())).collect()
    }

    fn encode(&self, item: &String) -> (&'static str, Vec<u8>) {
        ("text/plain", item.as_bytes().to_vec())
    }

    fn received_at(&self, _: &String) -> Option<OffsetDateTime> {
        None
    }

    async fn handle(&self, work: &mut Work, items: &[String]) -> Result<Settled, Failed> {
        let mut settled = Settled::default();
        for item in items {
            self.step(item, items.len() == 1).await?;
            sqlx::query("insert into seen (item) values ($1)")
                .bind(item)
                .execute(work.connection().await?)
                .await
                .doing("noting an item")?;
            settled.verdicts.push(Verdict::Done(domain::Outcome::Applied));
        }
        Ok(settled)
    }
}

/// A worker of the fleet that panics so often before it does its work.
struct Flaky<W> {
    worker: W,
    panics: AtomicU32,
    read: Reads,
}

impl<W: Worker> Flaky<W> {
    fn new(worker: W, panics: u32) -> Arc<Self> {
        Arc::new(Self { worker, panics: panics.into(), read: Mutex::default() })
    }
}

impl<W: Worker> Worker for Flaky<W> {
    const NAME: &'static str = W::NAME;
    const PREFETCH: u16 = W::PREFETCH;
    const CODES: &'static [&'static str] = W::CODES;

    type Item = W::Item;
    type Error = W::Error;

    fn queue(&self) -> &'static str {
        self.worker.queue()
    }

    fn decode(&self, message: &Incoming, now: OffsetDateTime) -> Vec<Decoded<W::Item>> {
        self.read.lock().unwrap().push((message.clone(), now));
        self.worker.decode(message, now)
    }

    fn encode(&self, item: &W::Item) -> (&'static str, Vec<u8>) {
        self.worker.encode(item)
    }

    fn received_at(&self, item: &W::Item) -> Option<OffsetDateTime> {
        self.worker.received_at(item)
    }

    async fn handle(&self, work: &mut Work, items: &[W::Item]) -> Result<Settled, W::Error> {
        let left = self.panics.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        assert!(left.is_err(), "it is not its day");
        self.worker.handle(work, items).await
    }
}

fn message(site: &Site, number: usize, body: &str) -> Message {
    Message {
        exchange: site.namespace.name(exchange::FACTS),
        routing_key: "fact.usage".to_owned(),
        message_id: format!("message-{number}"),
        content_type: "text/x-script".to_owned(),
        headers: BTreeMap::new(),
        body: body.as_bytes().to_vec(),
    }
}

async fn send(site: &Site, bodies: &[&str]) {
    let messages = bodies.iter().enumerate().map(|(number, body)| message(site, number, body));
    site.publisher.publish_all(messages.collect()).await.unwrap();
}

/// A context whose ladder has these rungs, which are declared already.
fn with_ladder(site: &Site, millis: &[u64]) -> Context {
    let delays: Vec<Duration> = millis.iter().map(|millis| Duration::from_millis(*millis)).collect();
    Context { ladder: Ladder::new(&delays).unwrap(), ..site.context() }
}

fn attempts_of(letter: &DeadLetter) -> Vec<Attempt> {
    serde_json::from_str(&letter.headers[header::ATTEMPTS]).unwrap()
}

/// Nothing is left in the worker's queue and on its ladder.
async fn assert_at_rest(site: &Site, of: &str) {
    for queue in [of].into_iter().chain(RUNGS) {
        assert_eq!(site.depth(queue).await, 0, "{queue}");
    }
}

#[test]
fn what_goes_well_at_the_third_attempt_rests_on_two_rungs_and_is_settled_once() {
    run(async |site| {
        let steps = Steps::<10, true>::on(&site).await;
        send(&site, &["unknown a 2"]).await;
        let running = site.start_with(steps.clone(), 1, site.context());
        site.until(SEEN_COUNT, 1).await;
        running.stop().await;
        assert_eq!(site.texts(SEEN).await, ["unknown a 2"]);
        assert_eq!(steps.attempts("unknown a 2"), 3);
        assert_eq!(site.dead_letters().await, []);
        assert_at_rest(&site, ledger::QUEUE).await;

        let reads = steps.reads();
        let tried: Vec<usize> = reads
            .iter()
            .map(|(message, _)| message.returned.as_ref().map_or(0, |returned| returned.attempts.len()))
            .collect();
        assert_eq!(tried, [0, 1, 2]);
        let returned = reads[2].0.returned.clone().unwrap();
        let [first, second] = &returned.attempts[..] else { panic!("{returned:?}") };
        assert!(second.at - first.at >= time::Duration::milliseconds(50), "{returned:?}");
        assert_eq!((returned.first_failed_at, first.why.as_str()), (first.at, "nobody foresaw unknown a 2"));
        let [settled_at]: [OffsetDateTime; 1] = sqlx::query_scalar("select at from seen")
            .fetch_all(&site.pool)
            .await
            .unwrap()
            .try_into()
            .unwrap();
        assert!(settled_at - second.at >= time::Duration::milliseconds(150), "{settled_at} {returned:?}");
    });
}

#[test]
fn what_never_goes_well_is_a_letter_after_one_attempt_more_than_there_are_rungs() {
    run(async |site| {
        let steps = Steps::<1, true>::on(&site).await;
        send(&site, &["unknown a 99", "panic b 99", "hang c 99"]).await;
        let context = Context { time_limit: Duration::from_millis(300), ..site.context() };
        let running = site.start_with(steps.clone(), 1, context);
        let mut letters = site.dead_lettered(3).await;
        running.stop().await;
        letters.sort_by(|a, b| a.message_id.cmp(&b.message_id));
        let codes: Vec<&str> = letters.iter().map(|letter| letter.code.as_str()).collect();
        assert_eq!(codes, ["unknown", "panic", "time_limit"]);
        for letter in &letters {
            assert_eq!(steps.attempts(&letter.body), RUNGS.len() as u32 + 1, "{letter:?}");
            let attempts = attempts_of(letter);
            assert_eq!(attempts.len(), RUNGS.len() + 1, "{letter:?}");
            assert!(attempts.iter().all(|attempt| attempt.why == letter.reason), "{letter:?}");
            let rests: Vec<i128> =
                attempts.windows(2).map(|pair| (pair[1].at - pair[0].at).whole_milliseconds()).collect();
            assert!(rests[0] >= 50 && rests[1] >= 150, "{rests:?}");
            let time = |name: &str| {
                OffsetDateTime::parse(&letter.headers[name], &time::format_description::well_known::Rfc3339)
                    .unwrap()
            };
            assert_eq!(time(header::FIRST_FAILED_AT), attempts[0].at);
            assert_eq!(time(header::DEAD_AT), attempts[2].at);
            assert!(letter.headers.keys().all(|name| !name.contains("death")), "{letter:?}");
        }
        assert_eq!(letters[0].reason, "nobody foresaw unknown a 99");
        assert_eq!(letters[1].reason, "it panicked: no way to do panic b 99");
        assert!(letters[2].reason.starts_with("it took longer than 300ms"), "{}", letters[2].reason);
        assert_at_rest(&site, ledger::QUEUE).await;
        assert_eq!(site.number(SEEN_COUNT).await, 0);
    });
}

#[test]
fn neighbours_in_the_message_and_in_the_batch_do_not_rest_with_the_culprit() {
    run(async |site| {
        let steps = Steps::<10, true>::on(&site).await;
        send(&site, &["ok 1\nunknown a 1\nok 2", "ok 3"]).await;
        let running = site.start_with(steps.clone(), 1, with_ladder(&site, &[60_000]));
        site.until_depth("retry.60s", 1).await;
        assert_eq!(site.texts(SEEN).await, ["ok 1", "ok 2", "ok 3"]);
        running.stop().await;
        assert_eq!(site.depth(ledger::QUEUE).await, 0, "all of it is acknowledged");
        let rests = site.take("retry.60s").await.remove(0);
        assert_eq!(
            (rests.body.as_slice(), rests.content_type.as_deref()),
            (&b"unknown a 1"[..], Some("text/plain"))
        );
    });
}

/// With others beside it this one would hang for the whole time limit, and they with it.
#[test]
fn what_failed_before_is_tried_with_nobody_beside_it() {
    run(async |site| {
        let steps = Steps::<10, true>::on(&site).await;
        send(&site, &["ok 1"]).await;
        let attempts =
            serde_json::to_string(&[Attempt { at: OffsetDateTime::now_utc(), why: "slow".to_owned() }]);
        let back = [
            (header::EXCHANGE, site.namespace.name(exchange::FACTS)),
            (header::ROUTING_KEY, "fact.usage".to_owned()),
            (header::FIRST_FAILED_AT, letter_time(OffsetDateTime::now_utc())),
            (header::ATTEMPTS, attempts.unwrap()),
        ];
        let back = Message {
            exchange: String::new(),
            routing_key: site.namespace.name(ledger::QUEUE),
            headers: back.map(|(name, value)| (name.to_owned(), value)).into(),
            ..message(&site, 7, "hang b 0")
        };
        site.publisher.publish_all(vec![back]).await.unwrap();
        send(&site, &["ok 2"]).await;
        site.until_depth(ledger::QUEUE, 3).await;
        let running = site.start_with(steps.clone(), 1, site.context());
        site.until(SEEN_COUNT, 3).await;
        running.stop().await;
        assert_at_rest(&site, ledger::QUEUE).await;
    });
}

#[test]
fn a_message_comes_back_as_it_first_came_whatever_its_publisher_forged() {
    run(async |site| {
        let steps = Steps::<1, true>::on(&site).await;
        let forged = [
            (header::FIRST_FAILED_AT, "2020-01-01T00:00:00Z"),
            (header::ATTEMPTS, r#"[{"at":"2020-01-01T00:00:00Z","why":"forged"}]"#),
            (header::EXCHANGE, "elsewhere"),
            (header::ROUTING_KEY, "fact.grant"),
            (header::USER, "root"),
            (header::REPLAY, "019123aa-0000-7000-8000-000000000000"),
            (header::LETTER, "019123aa-0000-7000-8000-000000000000"),
            (header::DEAD_CODE, "forged"),
            ("bursar-anything", "forged"),
        ];
        let own = [("colour", "blue"), ("traceparent", "00-x"), ("received_at", "17")];
        let headers = |rows: &[(&str, &str)]| -> BTreeMap<String, String> {
            rows.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        site.post(Post {
            exchange: exchange::FACTS,
            routing_key: "fact.usage".to_owned(),
            message_id: Some("m-1".to_owned()),
            content_type: Some("text/x-script".to_owned()),
            user_id: Some(site.amqp_user()),
            headers: headers(
                &[&forged[..], &own[..], &[("x-death", "forged"), ("x-delivery-count", "5")]].concat(),
            ),
            body: b"unknown a 2".to_vec(),
        })
        .await;
        let running = site.start_with(steps.clone(), 1, site.context());
        site.until(SEEN_COUNT, 1).await;
        running.stop().await;

        let reads = steps.reads();
        assert_eq!(reads.len(), 3, "what was forged counts as no attempt: {reads:#?}");
        assert_eq!(reads[0].0.returned, None);
        for (message, _) in &reads {
            let mut plain = Incoming { returned: None, ..message.clone() };
            // The broker sets its own on what it gives back from a rung; none of them is published again.
            plain.headers.retain(|name, _| !name.starts_with("x-"));
            let expect = Incoming {
                exchange: site.namespace.name(exchange::FACTS),
                routing_key: "fact.usage".to_owned(),
                message_id: Some("m-1".to_owned()),
                content_type: Some("text/x-script".to_owned()),
                user_id: Some(site.amqp_user()),
                headers: headers(&own),
                body: b"unknown a 2".to_vec(),
                ..Incoming::default()
            };
            assert_eq!(plain, expect);
        }
        let returned = reads[2].0.returned.clone().unwrap();
        assert_eq!((returned.attempts.len(), returned.replayed), (2, None));
        assert_eq!(site.dead_letters().await, []);
    });
}

/// The user is validated by the broker when it first comes; what the fleet puts back has none of its own.
#[test]
fn a_publishers_right_outlasts_the_ladder_and_cannot_be_claimed_by_a_header() {
    run(async |site| {
        let rights = BTreeMap::from([(site.amqp_user(), BTreeSet::from([FactKind::Grant]))]);
        let gate = Gate::new(
            Door::Inbound(Publishers { rights, ..Publishers::default() }),
            site.namespace.clone(),
            processors::Settings::default(),
            site.readers(),
        );
        let post = |id: &str, user_id: Option<String>| {
            let fact = envelope(&format!("shop/{id}"), grant("acct_1", 5));
            Post {
                exchange: exchange::INBOUND,
                routing_key: "fact.grant".to_owned(),
                message_id: Some(id.to_owned()),
                content_type: Some(domain::envelope::CONTENT_TYPE.to_owned()),
                user_id,
                headers: [
                    (header::USER, site.amqp_user()),
                    (header::FIRST_FAILED_AT, "2026-01-01T00:00:00Z".to_owned()),
                ]
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
                body: fact.to_json().into_bytes(),
            }
        };
        let gate = Flaky::new(gate, 2);
        site.post(post("by_user", Some(site.amqp_user()))).await;
        let running = site.start_with(gate.clone(), 1, site.context());
        site.until("select count(*) from inbox", 1).await;
        site.post(post("by_header", None)).await;
        let letter = site.dead_lettered(1).await.remove(0);
        running.stop().await;
        assert_eq!((letter.message_id.as_deref(), letter.code.as_str()), (Some("by_header"), "forbidden"));
        assert_eq!(gate.read.lock().unwrap().len(), 4);
        assert_eq!(site.texts("select id from inbox").await, ["by_user"]);
    });
}

/// It rests already, and its acknowledgement never arrives.
#[test]
fn a_worker_killed_between_the_ladder_and_the_acknowledgement_loses_nothing() {
    run(async |site| {
        let steps = Steps::<10, true>::on(&site).await;
        let url = site.amqp_url.expose_secret().to_owned();
        let relay = Relay::to(&url, 5672);
        let by_relay: secrecy::SecretString = relay.url(&url).into();
        let on_the_line = move |context: Context| Context {
            consume: bus::Broker::new(by_relay, "by the relay"),
            ladder: Ladder::new(&[Duration::from_secs(1)]).unwrap(),
            ..context
        };
        send(&site, &["wait 1\nunknown a 1"]).await;
        let mortal = site.start_mortal_with(steps.clone(), 1, on_the_line);
        // Twice: as a part of the whole batch, and alone.
        steps.entered.acquire_many(1).await.unwrap().forget();
        relay.hold();
        steps.pass.add_permits(100);
        site.until_depth("retry.1s", 1).await;
        mortal.kill();
        relay.close();
        site.until_depth(ledger::QUEUE, 1).await;

        let running = site.start_with(steps.clone(), 1, site.context());
        site.until("select count(*) from seen where item = 'unknown a 1'", 2).await;
        eventually("both to be acknowledged", async || {
            let waiting = site.depth(ledger::QUEUE).await + site.depth("retry.1s").await;
            (waiting == 0).then_some(())
        })
        .await;
        running.stop().await;
        assert_eq!(
            site.texts("select distinct item from seen order by item").await,
            ["unknown a 1", "wait 1"]
        );
        assert_eq!(site.number(SEEN_COUNT).await, 4, "each is repeated once, none is lost");
        assert_eq!(site.dead_letters().await, []);
    });
}

/// To RabbitMQ a message that it dead-letters into a queue for the second time has gone in a circle, and it drops it; what the
/// fleet publishes anew has no past.
#[test]
fn a_message_that_goes_around_again_and_again_is_not_dropped_by_the_broker() {
    run(async |site| {
        let steps = Steps::<1, false>::on(&site).await;
        send(&site, &["unknown a 5"]).await;
        let running = site.start_with(steps.clone(), 1, with_ladder(&site, &[50]));
        site.until(SEEN_COUNT, 1).await;
        running.stop().await;
        assert_eq!(steps.attempts("unknown a 5"), 6);
        assert_eq!(site.dead_letters().await, [], "it does not give up");
        let latest = steps.reads().pop().unwrap().0.returned.unwrap();
        assert_eq!(latest.attempts.len(), 1, "of one that never dies only the latest are told");
        assert_at_rest(&site, ledger::QUEUE).await;
    });
}

#[test]
fn while_a_rung_is_missing_nothing_is_acknowledged() {
    run(async |site| {
        let steps = Steps::<1, true>::on(&site).await;
        site.delete_queue(RUNGS[0]).await;
        send(&site, &["unknown a 1", "ok b"]).await;
        let running = site.start_with(steps.clone(), 1, site.context());
        eventually("an attempt", async || (steps.attempts("unknown a 1") > 0).then_some(())).await;
        // It would take the next one up, had it acknowledged this.
        for _ in 0..100 {
            assert_eq!(site.number(SEEN_COUNT).await, 0);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        running.stop().await;
        site.until_depth(ledger::QUEUE, 2).await;

        let running = site.start_with(steps.clone(), 1, site.context());
        eventually("another attempt", async || (steps.attempts("unknown a 1") > 1).then_some(())).await;
        site.topology.declare(&site.broker).await.unwrap();
        site.until("select count(*) from seen where item = 'unknown a 1'", 1).await;
        running.stop().await;
        assert_eq!(site.number(SEEN_ONCE).await, 2);
        assert_at_rest(&site, ledger::QUEUE).await;
        assert_eq!(site.dead_letters().await, []);
    });
}

/// A signature is good for minutes, a delivery for three days: a rest must not make either stale.
#[test]
fn a_raw_delivery_that_rested_is_read_for_when_it_first_came() {
    run(async |site| {
        let body = paddle_payload("transaction.completed").to_string().into_bytes();
        let long_ago = OffsetDateTime::now_utc() - time::Duration::days(10);
        let signed = signed("paddle", door::SECRET, &body, long_ago);
        let mut headers: BTreeMap<String, String> =
            signed.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        headers.insert(header::RECEIVED_AT.to_owned(), long_ago.unix_timestamp().to_string());
        let raw = |headers: BTreeMap<String, String>| Message {
            exchange: site.namespace.name(exchange::RAW),
            routing_key: "raw.paddle".to_owned(),
            message_id: "raw-1".to_owned(),
            content_type: "application/json".to_owned(),
            headers,
            body: body.clone(),
        };
        let ingester = Flaky::new(RawQueue::new(door::intake(&site)), 2);
        let running = site.start_with(ingester.clone(), 1, site.context());
        site.publisher.publish_all(vec![raw(headers.clone())]).await.unwrap();
        let letter = site.dead_lettered(1).await.remove(0);
        assert!(letter.reason.contains("within the last 3 days"), "{letter:?}");

        // The same, put back by the fleet: it first failed ten days ago, and fails twice more.
        let back = [
            (header::EXCHANGE, site.namespace.name(exchange::RAW)),
            (header::ROUTING_KEY, "raw.paddle".to_owned()),
            (header::FIRST_FAILED_AT, letter_time(long_ago)),
        ];
        headers.extend(back.map(|(name, value)| (name.to_owned(), value)));
        let back = Message {
            exchange: String::new(),
            routing_key: site.namespace.name(queue::INGESTER),
            ..raw(headers)
        };
        site.publisher.publish_all(vec![back]).await.unwrap();
        site.until_depth(queue::GATE, 1).await;
        running.stop().await;
        let times: Vec<OffsetDateTime> = ingester.read.lock().unwrap().iter().map(|(_, now)| *now).collect();
        assert_eq!(times[1..], [times[1]; 3], "{times:?}");
        let fact = site.take_facts(queue::GATE).await.remove(0);
        assert_eq!(fact.received_at.unwrap().unix_timestamp(), long_ago.unix_timestamp());
        assert_eq!(site.dead_letters().await, []);
    });
}

fn letter_time(at: OffsetDateTime) -> String {
    at.format(&time::format_description::well_known::Rfc3339).unwrap()
}

/// Headers travel in one frame: neither the reasons of many attempts nor letters that grow in JSON may burst it.
#[test]
fn a_long_ladder_of_long_reasons_still_fits_the_broker() {
    run(async |site| {
        let steps = Steps::<1, true>::on(&site).await;
        let millis: Vec<u64> = (10..20).collect();
        let context = with_ladder(&site, &millis);
        let topology = bus::Topology::new(&site.namespace, &context.ladder, &bursar::workers::queues());
        topology.declare(&site.broker).await.unwrap();
        site.post(Post {
            exchange: exchange::FACTS,
            routing_key: "fact.usage".to_owned(),
            headers: [("colour".to_owned(), "blue ".repeat(9_500))].into(),
            body: format!("unknown a{} 99", "\u{1}".repeat(40_000)).into_bytes(),
            ..Post::default()
        })
        .await;
        let running = site.start_with(steps.clone(), 1, context);
        let letter = site.dead_lettered(1).await.remove(0);
        running.stop().await;
        assert_eq!(attempts_of(&letter).len(), 11);
        assert!(letter.reason.starts_with("nobody foresaw unknown a\u{1}"));
        topology.delete(&site.broker).await.unwrap();
    });
}

/// Starts workers that die whenever they come to `die`, until `holds`; returns how many did.
async fn die_until(
    site: &Site,
    steps: &Arc<Steps>,
    lanes: usize,
    mut holds: impl AsyncFnMut() -> bool,
) -> usize {
    // A busy machine leaves some uncounted.
    for deaths in 0..60 {
        let mortal: Mortal = site.start_mortal(steps.clone(), lanes);
        let died = within(Duration::from_secs(20), "a death, or an end of them", async || {
            if let Ok(permit) = steps.entered.try_acquire() {
                permit.forget();
                return Some(true);
            }
            holds().await.then_some(false)
        })
        .await;
        mortal.kill();
        if !died {
            return deaths;
        }
    }
    panic!("it dies for ever");
}

#[test]
fn what_ends_the_process_again_and_again_is_one_letter_and_its_neighbours_are_settled() {
    run(async |site| {
        let steps = Steps::<10, true>::on(&site).await;
        let mut bodies: Vec<String> = (0..40).map(|number| format!("ok {number}")).collect();
        bodies[17] = "ok 17\ndie 1\nok b".to_owned();
        send(&site, &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let dead = async || site.depth(queue::DEAD_LETTERS).await > 0;
        let deaths = die_until(&site, &steps, 2, dead).await;
        assert!(deaths >= 8, "accused after {deaths}");

        let running = site.start_with(steps.clone(), 2, site.context());
        site.until(SEEN_ONCE, 41).await;
        site.until_depth(ledger::QUEUE, 0).await;
        running.stop().await;
        assert_at_rest(&site, ledger::QUEUE).await;
        assert_eq!(
            distinct(&site.dead_letters().await),
            [("crash", "die 1")],
            "the culprit out of its message, and nobody else"
        );
        assert!(site.number(SUSPECTS).await <= 2, "the message and the culprit");
    });
}

/// Its items cannot be told from one another.
#[test]
fn a_message_whose_reading_ends_the_process_is_a_letter_as_it_came() {
    run(async |site| {
        let steps = Steps::<10, true>::on(&site).await;
        send(&site, &["ok 1\nunreadable\nok 2"]).await;
        kill_while_it_reads(&site, &steps, "ok 1\nunreadable\nok 2").await;
        assert_eq!(distinct(&site.dead_letters().await), [("crash", "ok 1\nunreadable\nok 2")]);
    });
}

/// Code and body of each letter. One that is killed before it acknowledges what it gave up on gives up on it again: the
/// same letter, that counts once.
fn distinct(letters: &[DeadLetter]) -> Vec<(&str, &str)> {
    let mut told: Vec<_> =
        letters.iter().map(|letter| (letter.code.as_str(), letter.body.as_str())).collect();
    told.dedup();
    told
}

/// Starts workers that die when they read it, until it is given up on.
async fn kill_while_it_reads(site: &Site, steps: &Arc<Steps>, body: &str) {
    let reads = || steps.reads().iter().filter(|(message, _)| message.body == body.as_bytes()).count();
    let dead = async || site.depth(queue::DEAD_LETTERS).await > 0;
    // A busy machine leaves some uncounted.
    for _ in 0..60 {
        let before = reads();
        let mortal = site.start_mortal(steps.clone(), 1);
        eventually("it to be read, or given up on", async || {
            (reads() > before || dead().await).then_some(())
        })
        .await;
        mortal.kill();
        steps.released.add_permits(1);
        if dead().await {
            return;
        }
    }
    panic!("it dies for ever");
}

/// The message alone is found out, and once it is replayed by a version that survives it, it is settled.
#[test]
fn a_message_that_ended_the_process_is_settled_by_a_version_that_survives_it() {
    run(async |site| {
        let steps = Steps::<10, true>::on(&site).await;
        send(&site, &["die 1"]).await;
        let dead = async || site.depth(queue::DEAD_LETTERS).await > 0;
        die_until(&site, &steps, 1, dead).await;
        let letter = site.take(queue::DEAD_LETTERS).await.remove(0).restored(&site.namespace);
        assert_eq!(letter.death.as_ref().unwrap().code, "crash");
        let survivor = Survivor { needs_database: true, settled: 0.into() };
        let running = site.start(survivor, 1);
        site.publisher.publish_all(vec![letter.replay(&site.namespace, ledger::QUEUE)]).await.unwrap();
        site.until(SEEN_COUNT, 1).await;
        running.stop().await;
        assert_eq!(site.dead_letters().await, []);
    });
}

/// Settles whatever comes, and counts it.
struct Survivor {
    needs_database: bool,
    settled: AtomicU32,
}

impl Worker for Survivor {
    const NAME: &'static str = "ledger";
    const PREFETCH: u16 = 50;
    const CODES: &'static [&'static str] = &[];

    type Item = String;
    type Error = Failed;

    fn queue(&self) -> &'static str {
        ledger::QUEUE
    }

    fn decode(&self, message: &Incoming, _: OffsetDateTime) -> Vec<Decoded<String>> {
        vec![Decoded::Item(String::from_utf8(message.body.clone()).unwrap())]
    }

    fn encode(&self, item: &String) -> (&'static str, Vec<u8>) {
        ("text/plain", item.as_bytes().to_vec())
    }

    fn received_at(&self, _: &String) -> Option<OffsetDateTime> {
        None
    }

    async fn handle(&self, work: &mut Work, items: &[String]) -> Result<Settled, Failed> {
        self.settled.fetch_add(items.len() as u32, Ordering::Relaxed);
        for item in items.iter().filter(|_| self.needs_database) {
            sqlx::query("insert into seen (item) values ($1)")
                .bind(item)
                .execute(work.connection().await?)
                .await
                .doing("noting an item")?;
        }
        Ok(Settled {
            verdicts: vec![Verdict::Done(domain::Outcome::Applied); items.len()],
            ..Settled::default()
        })
    }
}

/// Makes suspects of the messages in the worker's queue: it is killed so often while it has all of them in hand.
async fn kill_with_all_in_hand(site: &Site, steps: &Arc<Steps<50>>, lanes: usize, count: u32) {
    for _ in 0..3 {
        site.until_depth(ledger::QUEUE, count).await;
        let mortal = site.start_mortal(steps.clone(), lanes);
        eventually("all to be read", async || {
            let in_hand = site.depth(ledger::QUEUE).await == 0 && steps.entered.available_permits() > 0;
            in_hand.then_some(())
        })
        .await;
        mortal.kill();
        while let Ok(permit) = steps.entered.try_acquire() {
            permit.forget();
        }
    }
    site.until_depth(ledger::QUEUE, count).await;
}

#[test]
fn a_suspect_that_waits_for_its_turn_goes_back_when_the_fleet_stops() {
    run(async |site| {
        let steps = Steps::<50, true>::on(&site).await;
        send(&site, &["wait 1", "wait 2"]).await;
        kill_with_all_in_hand(&site, &steps, 1, 2).await;
        let steps = Steps::<1, true>::again();
        let running = site.start_with(steps.clone(), 2, site.context());
        steps.entered.acquire().await.unwrap().forget();
        site.until_depth(ledger::QUEUE, 0).await;
        let stopping = tokio::spawn(running.stop());
        site.until_depth(ledger::QUEUE, 1).await;
        steps.pass.add_permits(1);
        stopping.await.unwrap();
        assert_eq!(site.number(SEEN_COUNT).await, 1);
    });
}

/// A worker that needs no database goes on without it, and its suspects too.
#[test]
fn suspects_do_not_stand_in_a_queue_for_a_database_that_is_away() {
    run(async |site| {
        let steps = Steps::<50, true>::on(&site).await;
        let mut items: Vec<String> = (0..20).map(|number| format!("idle {number}")).collect();
        items[0] = "wait 0".to_owned();
        send(&site, &items.iter().map(String::as_str).collect::<Vec<_>>()).await;
        kill_with_all_in_hand(&site, &steps, 1, 20).await;
        let relay = Relay::to(site.database_url.expose_secret(), 5432);
        let by_relay: secrecy::SecretString = relay.url(site.database_url.expose_secret()).into();
        relay.hold();
        let context = Context { pool: db::pool(&by_relay, 2, "by the relay").unwrap(), ..site.context() };
        let idle = Arc::new(Survivor { needs_database: false, settled: 0.into() });
        let running = site.start_with(idle.clone(), 1, context);
        within(Duration::from_secs(30), "all to be settled", async || {
            (idle.settled.load(Ordering::Relaxed) == 20).then_some(())
        })
        .await;
        running.stop().await;
        site.until_depth(ledger::QUEUE, 0).await;
    });
}

/// Somebody restarts the fleet in the hope that it helps, while it is the database that is away.
#[test]
fn ten_restarts_while_the_database_is_away_blame_nobody() {
    run(async |site| {
        let steps = Steps::<10, true>::on(&site).await;
        let url = site.database_url.expose_secret().to_owned();
        let relay = Relay::to(&url, 5432);
        let by_relay: secrecy::SecretString = relay.url(&url).into();
        relay.close();
        let items: Vec<String> = (0..8).map(|number| format!("ok {number}")).collect();
        send(&site, &items.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let on_the_line = || {
            let by_relay = by_relay.clone();
            move |context: Context| Context {
                pool: db::pool(&by_relay, 2, "by the relay").unwrap(),
                ..context
            }
        };
        for _ in 0..10 {
            site.until_depth(ledger::QUEUE, 8).await;
            let mortal = site.start_mortal_with(steps.clone(), 1, on_the_line());
            site.until_depth(ledger::QUEUE, 0).await;
            mortal.kill();
        }
        site.until_depth(ledger::QUEUE, 8).await;
        relay.open();
        let running = site.start_with(steps.clone(), 1, on_the_line()(site.context()));
        site.until(SEEN_ONCE, 8).await;
        running.stop().await;
        let returns = steps.reads().iter().map(|(message, _)| message.returns).max().unwrap();
        assert!(returns >= 10, "they are suspects: {returns}");
        assert_eq!(site.number(SEEN_COUNT).await, 8);
        assert_eq!(site.dead_letters().await, []);
        assert_eq!(site.number(SUSPECTS).await, 0);
        assert_at_rest(&site, ledger::QUEUE).await;
    });
}
