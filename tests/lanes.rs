//! What may stop a lane: messages that the broker will not take again, answers that never come, loops without an end. None of it
//! does for long, or it is seen.

use bus::{
    Context, Decoded, Fate, Fated, Incoming, Message, Settled, Verdict, Worker, exchange, header, queue,
};
use db::{Doing, Work};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use testkit::facts::{envelope, usage};
use testkit::{Bursar, Relay, Settings, Site, eventually, run, run_within, within};
use time::OffsetDateTime;
use tokio::sync::Semaphore;

const SEEN: &str = "select item from seen order by item";
const SEEN_COUNT: &str = "select count(*) from seen";
const SUSPECTS: &str = "select coalesce(sum(tries), 0)::bigint from suspects";

/// A worker of which each message is one item, that says what happens. What is settled is a row of `seen`.
struct Actor {
    /// A permit for each time that it has come to `hold`, `lock` or `spin`.
    entered: Semaphore,
    /// How often it may pass one.
    pass: Semaphore,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Database(#[from] db::Error),
    #[error("{0} can never work")]
    Poison(String),
    #[error("nobody foresaw {0}")]
    Unknown(String),
}

impl Fated for Failed {
    fn fate(&self) -> Fate {
        match self {
            Failed::Database(error) => error.fate(),
            Failed::Poison(_) => Fate::Poison("scripted"),
            Failed::Unknown(_) => Fate::Unknown,
        }
    }
}

impl Worker for Actor {
    const NAME: &'static str = "ledger";
    const PREFETCH: u16 = 10;
    const CODES: &'static [&'static str] = &["scripted"];

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
        for item in items {
            let verb = item.split(' ').next().unwrap();
            match verb {
                "poison" => return Err(Failed::Poison(item.clone())),
                "unknown" => return Err(Failed::Unknown(item.clone())),
                "spin" => {
                    self.entered.add_permits(1);
                    // Holds its thread.
                    while self.pass.try_acquire().map(|permit| permit.forget()).is_err() {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
                "lock" => self.entered.add_permits(1),
                _ => {}
            }
            sqlx::query("insert into seen (item) values ($1) on conflict do nothing")
                .bind(item)
                .execute(work.connection().await?)
                .await
                .doing("noting an item")?;
            if verb == "hold" {
                self.entered.add_permits(1);
                self.pass.acquire().await.unwrap().forget();
            }
        }
        Ok(Settled {
            verdicts: vec![Verdict::Done(domain::Outcome::Applied); items.len()],
            ..Settled::default()
        })
    }
}

async fn actor(site: &Site) -> Arc<Actor> {
    sqlx::query("create table seen (item text primary key)").execute(&site.owner).await.unwrap();
    Arc::new(Actor { entered: Semaphore::new(0), pass: Semaphore::new(0) })
}

fn message(site: &Site, body: &str) -> Message {
    Message {
        exchange: site.namespace.name(exchange::FACTS),
        routing_key: "fact.usage".to_owned(),
        message_id: body.to_owned(),
        content_type: "text/plain".to_owned(),
        headers: BTreeMap::new(),
        body: body.as_bytes().to_vec(),
    }
}

async fn send(site: &Site, bodies: &[&str]) {
    site.publisher.publish_all(bodies.iter().map(|body| message(site, body)).collect()).await.unwrap();
}

/// A line to the site's database, and a pool of so many connections by it.
fn line(site: &Site, connections: u32) -> (Relay, db::Pool) {
    let url = site.database_url.expose_secret();
    let relay = Relay::to(url, 5432);
    let by_relay: SecretString = relay.url(url).into();
    (relay, db::pool(&by_relay, connections, "by the relay").unwrap())
}

/// They fill the frame that they come in. The broker ends the connection over one that is larger.
#[test]
fn a_message_of_many_small_headers_is_a_letter_and_keeps_up_nobody() {
    run(async |site| {
        let actor = actor(&site).await;
        let letter = |number: usize| char::from(b'a' + (number % 26) as u8);
        let name = |number: usize| [number / 676, number / 26, number].map(letter).iter().collect::<String>();
        let headers = (0..14_540).map(|number| (name(number), String::new()));
        let full = Message { headers: headers.collect(), ..message(&site, "poison") };
        site.publisher.publish_all(vec![full]).await.unwrap();
        send(&site, &["after"]).await;
        let running = site.start_with(actor, 1, site.context());
        let letter = site.dead_lettered(1).await.remove(0);
        site.until(SEEN_COUNT, 1).await;
        running.stop().await;
        assert_eq!((letter.code.as_str(), letter.body.as_str()), ("scripted", "poison"));
        assert!(letter.headers.keys().filter(|name| !name.starts_with(header::OWN)).count() > 10_000);
        assert_eq!(site.depth(ledger::QUEUE).await, 0);
    });
}

/// An exchange that is not there ends the channel, and with it the window of everybody on it.
#[test]
fn what_cannot_be_handed_over_takes_no_neighbour_along() {
    run(async |site| {
        let actor = actor(&site).await;
        let channel = site.broker.channel().await.unwrap();
        let rung = site.namespace.name("retry.50ms");
        channel.exchange_delete(rung.as_str().into(), Default::default()).await.unwrap();
        send(&site, &["unknown", "poison a", "poison b"]).await;
        let running = site.start_with(actor, 1, site.context());
        let letters = site.dead_lettered(2).await;
        let bodies: Vec<&str> = letters.iter().map(|letter| letter.body.as_str()).collect();
        assert_eq!(bodies, ["poison a", "poison b"]);
        site.topology.declare(&site.broker).await.unwrap();
        let letter = site.dead_lettered(1).await.remove(0);
        running.stop().await;
        assert_eq!((letter.code.as_str(), letter.body.as_str()), ("unknown", "unknown"));
    });
}

/// A firewall has forgotten the connection: nothing comes, not even its end. What was committed is done again.
#[test]
fn a_commit_whose_answer_is_lost_holds_up_its_lane_no_longer_than_its_limit() {
    run(async |site| {
        let actor = actor(&site).await;
        let (relay, pool) = line(&site, 1);
        send(&site, &["hold"]).await;
        let context = Context { time_limit: Duration::from_secs(1), pool, ..site.context() };
        let running = site.start_with(actor.clone(), 1, context);
        actor.entered.acquire().await.unwrap().forget();
        relay.lose_answers();
        actor.pass.add_permits(10);
        site.until(SEEN_COUNT, 1).await;
        // The pool's only connection is the lost one: it must be given up too.
        within(Duration::from_secs(30), "it to be settled", async || actor.entered.try_acquire().ok())
            .await
            .forget();
        running.stop().await;
        assert_eq!(site.depth(ledger::QUEUE).await, 0);
        assert_eq!(site.dead_letters().await, []);
        assert_eq!(site.texts(SEEN).await, ["hold"]);
    });
}

/// It may hold up its whole runtime, and who asks there: so it is asked from a thread beside it.
#[test]
fn a_lane_that_no_limit_frees_is_seen() {
    run(async |site| {
        let actor = actor(&site).await;
        send(&site, &["spin"]).await;
        let context = Context { time_limit: Duration::from_millis(50), ..site.context() };
        let (health, spinning) = (context.health.clone(), actor.clone());
        let watcher = std::thread::spawn(move || {
            let mut looks = (0..1_000).map(|_| {
                std::thread::sleep(Duration::from_millis(10));
                (health.stuck(), health.busy())
            });
            let seen = looks.find(|(stuck, _)| !stuck.is_empty());
            spinning.pass.add_permits(10);
            (seen, health)
        });
        let running = site.start_with(actor.clone(), 1, context);
        site.until(SEEN_COUNT, 1).await;
        let (seen, health) = watcher.join().unwrap();
        let (stuck, busy) = seen.unwrap();
        assert_eq!(stuck, ["ledger.0"]);
        assert!(busy[0].1 >= Duration::from_millis(200), "{busy:?}");
        eventually("it to be free", async || (health.busy()[0].1 == Duration::ZERO).then_some(())).await;
        assert_eq!(running.stuck(), [""; 0]);
        running.stop().await;
    });
}

/// A server that is away holds it up as well, and a new start would not help.
#[test]
fn a_lane_that_pauses_for_a_server_is_busy_and_not_stuck() {
    run(async |site| {
        let actor = actor(&site).await;
        let (relay, pool) = line(&site, 1);
        relay.close();
        send(&site, &["ok"]).await;
        let context = Context { time_limit: Duration::from_millis(50), pool, ..site.context() };
        let health = context.health.clone();
        let running = site.start_with(actor, 1, context);
        eventually("a long pause", async || {
            let busy = health.busy().first().map_or(Duration::ZERO, |(_, busy)| *busy);
            assert_eq!(running.stuck(), [""; 0]);
            (busy > Duration::from_secs(1)).then_some(())
        })
        .await;
        relay.open();
        site.until(SEEN_COUNT, 1).await;
        running.stop().await;
    });
}

/// Somebody holds a lock, and somebody restarts the fleet again and again in the hope that it helps.
#[test]
fn a_message_that_waits_for_a_lock_is_not_blamed_for_kills_meanwhile() {
    run(async |site| {
        let actor = actor(&site).await;
        let mut holder = site.pool.begin().await.unwrap();
        sqlx::query("insert into seen (item) values ('lock')").execute(&mut *holder).await.unwrap();
        send(&site, &["lock"]).await;
        for round in 0..9 {
            site.until_depth(ledger::QUEUE, 1).await;
            let before = site.number(SUSPECTS).await;
            let mortal = site.start_mortal(actor.clone(), 1);
            // The first two pauses are short.
            let attempts = if round < 3 { 1 } else { 3 };
            actor.entered.acquire_many(attempts).await.unwrap().forget();
            eventually("a pause, in which nothing is counted", async || {
                (site.number(SUSPECTS).await <= before).then_some(())
            })
            .await;
            mortal.kill();
            while let Ok(permit) = actor.entered.try_acquire() {
                permit.forget();
            }
        }
        holder.rollback().await.unwrap();
        let running = site.start_with(actor.clone(), 1, site.context());
        site.until(SEEN_COUNT, 1).await;
        site.until_depth(ledger::QUEUE, 0).await;
        running.stop().await;
        assert_eq!(site.dead_letters().await, []);
        assert_eq!(site.number(SUSPECTS).await, 0);
    });
}

#[test]
fn events_that_cannot_be_published_hold_up_no_others() {
    run(async |site| {
        let mut work = Work::new(site.pool.clone(), OffsetDateTime::now_utc() - Duration::from_secs(60));
        let rows = [put(&mut work, "one").await, put(&mut work, "two").await];
        work.commit().await.unwrap();
        // What the oldest tells of is not there.
        sqlx::query("update outbox set events = array[gen_random_uuid()], created_at = created_at - interval '1 hour' where id = $1")
            .bind(rows[0])
            .execute(&site.owner)
            .await
            .unwrap();
        let events = site.subscribe().await;
        let (namespace, pool, publisher) =
            (site.namespace.clone(), site.pool.clone(), site.publisher.sibling());
        tokio::spawn(crate::publish_left(namespace, pool, publisher, site.over.clone()));
        let told = events.until(1).await;
        assert_eq!(told[0].data, serde_json::json!({ "name": "two" }));
        site.until("select count(*) from outbox", 1).await;
    });
}

async fn put(work: &mut Work, name: &str) -> uuid::Uuid {
    let data = serde_json::value::to_raw_value(&serde_json::json!({ "name": name })).unwrap();
    let event = db::outbox::StoredEvent {
        id: uuid::Uuid::now_v7(),
        source: "bursar/ledger".to_owned(),
        account: None,
        sequence: None,
        kind: "alert.raised".to_owned(),
        time: work.now,
        cause: "test/1".to_owned(),
        traceparent: None,
        data: sqlx::types::Json(data),
        hash: db::chain::GENESIS,
    };
    db::outbox::put(work, &[event.alone()]).await.unwrap().unwrap()
}

/// What is delivered and not settled lies in memory, and a message may be large.
#[test]
fn memory_is_bounded_by_what_a_lane_takes_however_large_messages_are() {
    run_within(Duration::from_secs(120), async |site| {
        let facts = |numbers: std::ops::Range<usize>| {
            let message = |number| {
                let fact = envelope(&format!("shop/{number}"), usage("acct_1", 1)).to_json();
                Message {
                    exchange: site.namespace.name(exchange::INBOUND),
                    body: [fact.as_bytes(), &vec![b' '; 1024 * 1024 - fact.len()]].concat(),
                    content_type: domain::envelope::CONTENT_TYPE.to_owned(),
                    ..message(&site, &format!("large {number}"))
                }
            };
            numbers.map(message).collect()
        };
        for chunk in 0..20 {
            site.publisher.publish_all(facts(chunk * 20..chunk * 20 + 20)).await.unwrap();
        }
        let bursar = Bursar::start(&site, &Settings::default(), &["up", "--workers", "gate"]).await;
        site.until_depth(queue::GATE_INBOUND, 0).await;
        site.until("select count(*) from inbox", 400).await;
        let status = std::fs::read_to_string(format!("/proc/{}/status", bursar.process_id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(peak < 350 * 1024, "{peak} KiB");
        bursar.terminate().await;
    });
}
