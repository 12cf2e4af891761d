//! The broker's side of the fleet: every message has a known fate, whatever breaks.

use bus::{
    Decoded, Difference, Fate, Fated, Incoming, Message, PublishError, Publisher, Settled, Verdict, Worker,
    exchange, queue,
};
use db::{Doing, Work};
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::{Post, Relay, Site, eventually, run};
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::time::Instant;

const SEEN: &str = "select item from seen order by item";
const SEEN_COUNT: &str = "select count(*) from seen";

/// A worker that does what its items say. A message holds one item in each line; what is settled is a row of `seen`.
struct Script {
    attempts: Mutex<BTreeMap<String, u32>>,
    /// A permit for each time that it has come to an item `wait...`.
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
    #[error("a server is away")]
    Transient,
}

impl Fated for Failed {
    fn fate(&self) -> Fate {
        match self {
            Failed::Database(error) => error.fate(),
            Failed::Poison(_) => Fate::Poison("scripted"),
            Failed::Unknown(_) => Fate::Unknown,
            Failed::Transient => Fate::Transient,
        }
    }
}

impl Script {
    fn attempt(&self, item: &str) -> u32 {
        let mut attempts = self.attempts.lock().unwrap();
        let count = attempts.entry(item.to_owned()).or_default();
        *count += 1;
        *count
    }

    fn attempts(&self, item: &str) -> u32 {
        self.attempts.lock().unwrap().get(item).copied().unwrap_or_default()
    }

    async fn entered(&self) {
        self.entered.acquire().await.unwrap().forget();
    }
}

impl Worker for Script {
    const NAME: &'static str = "ledger";
    const PREFETCH: u16 = 10;
    const CODES: &'static [&'static str] = &["scripted", "malformed", "refused"];

    type Item = String;
    type Error = Failed;

    fn queue(&self) -> &'static str {
        ledger::QUEUE
    }

    fn decode(&self, message: &Incoming, _: OffsetDateTime) -> Vec<Decoded<String>> {
        let text = String::from_utf8(message.body.clone()).unwrap();
        text.lines()
            .map(|line| match line {
                "unreadable" => Decoded::Bad {
                    body: b"unreadable".to_vec(),
                    content_type: Some("text/plain"),
                    code: "malformed",
                    reason: "so it is".to_owned(),
                },
                item => Decoded::Item(item.to_owned()),
            })
            .collect()
    }

    fn encode(&self, item: &String) -> (&'static str, Vec<u8>) {
        ("text/plain", item.as_bytes().to_vec())
    }

    fn received_at(&self, _: &String) -> Option<OffsetDateTime> {
        None
    }

    async fn handle(&self, work: &mut Work, items: &[String]) -> Result<Settled, Failed> {
        if items.iter().any(|item| item.starts_with("wait")) {
            self.entered.add_permits(1);
            self.pass.acquire().await.unwrap().forget();
        }
        let mut settled = Settled::default();
        for item in items {
            let attempt = self.attempt(item);
            match item.split(' ').next().unwrap() {
                "poison" => return Err(Failed::Poison(item.clone())),
                "unknown" => return Err(Failed::Unknown(item.clone())),
                "panic" => panic!("no way to do {item}"),
                "transient" if attempt < 4 => return Err(Failed::Transient),
                "refuse" => {
                    settled.verdicts.push(Verdict::Dead { code: "refused", reason: format!("not {item}") });
                    continue;
                }
                _ => {}
            }
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

async fn prepare(site: &Site) -> Arc<Script> {
    sqlx::query("create table seen (item text not null)").execute(&site.owner).await.unwrap();
    Arc::new(Script { attempts: Mutex::default(), entered: Semaphore::new(0), pass: Semaphore::new(0) })
}

async fn send(site: &Site, bodies: &[&str]) {
    let messages = bodies.iter().enumerate().map(|(number, body)| message(site, "fact.usage", number, body));
    site.publisher.publish_all(messages.collect()).await.unwrap();
}

fn message(site: &Site, routing_key: &str, number: usize, body: &str) -> Message {
    Message {
        exchange: site.namespace.name(exchange::FACTS),
        routing_key: routing_key.to_owned(),
        message_id: format!("message-{number}"),
        content_type: "text/x-script".to_owned(),
        headers: BTreeMap::new(),
        body: body.as_bytes().to_vec(),
    }
}

/// A message that no queue takes.
fn stray(site: &Site, number: usize) -> Message {
    message(site, "fact.nobody", number, "stray")
}

async fn relay(site: &Site) -> (Relay, bus::Broker) {
    let url = site.amqp_url.expose_secret();
    let relay = Relay::to(url, 5672);
    let broker = bus::Broker::new(relay.url(url).into(), "by the relay");
    (relay, broker)
}

#[test]
fn an_unroutable_message_is_reported_by_its_own_id_and_the_others_are_confirmed() {
    run(async |site| {
        // More than one window, so that some windows have a stray and others none.
        let strays = [0, 37, 38, 511, 1_300];
        let messages: Vec<Message> = (0..1_301)
            .map(|number| match strays.contains(&number) {
                true => stray(&site, number),
                false => message(&site, "fact.usage", number, "x"),
            })
            .collect();
        let outcomes = site.publisher.publish(messages).await;
        let failed: Vec<usize> = (0..outcomes.len()).filter(|number| outcomes[*number].is_err()).collect();
        assert_eq!(failed, strays);
        assert!(
            failed.iter().all(|number| matches!(outcomes[*number], Err(PublishError::Unroutable { .. })))
        );
        site.until_depth(ledger::QUEUE, 1_301 - strays.len() as u32).await;
    });
}

#[test]
fn callers_that_share_a_window_each_get_their_own_outcomes() {
    run(async |site| {
        let tasks: Vec<_> = (0..40)
            .map(|task| {
                let messages = (0..20).map(|number| match number == task % 20 {
                    true => stray(&site, task * 20 + number),
                    false => message(&site, "fact.usage", task * 20 + number, "x"),
                });
                let (publisher, messages) = (site.publisher.clone(), messages.collect());
                tokio::spawn(async move { publisher.publish(messages).await })
            })
            .collect();
        for (task, outcomes) in tasks.into_iter().enumerate() {
            let outcomes = outcomes.await.unwrap();
            let failed: Vec<usize> = (0..20).filter(|number| outcomes[*number].is_err()).collect();
            assert_eq!(failed, [task % 20], "task {task}");
        }
        site.until_depth(ledger::QUEUE, 40 * 19).await;
    });
}

#[test]
fn a_publisher_says_unavailable_while_its_line_is_cut_and_recovers() {
    run(async |site| {
        let (relay, broker) = relay(&site).await;
        let publisher = Publisher::spawn(broker, Duration::from_millis(500));
        let publish = async || publisher.publish(vec![message(&site, "fact.usage", 1, "x")]).await.remove(0);
        let until_published =
            async || eventually("a confirm", async || publish().await.is_ok().then_some(())).await;
        until_published().await;

        relay.close();
        assert!(matches!(publish().await, Err(PublishError::Unavailable(_))));
        assert!(
            matches!(publish().await, Err(PublishError::Unavailable(_))),
            "it does not wait for the line"
        );
        relay.open();
        until_published().await;

        // A server that hangs: nothing is refused, nothing comes back.
        relay.hold();
        let asked = Instant::now();
        assert!(matches!(publish().await, Err(PublishError::Unavailable(_))));
        assert!(
            asked.elapsed() < Duration::from_secs(2),
            "the confirm's time limit holds: {:?}",
            asked.elapsed()
        );
        relay.close();
        relay.open();
        until_published().await;
    });
}

#[test]
fn a_poison_item_is_dead_lettered_alone_and_its_neighbours_are_settled() {
    run(async |site| {
        let script = prepare(&site).await;
        send(&site, &["a\npoison 1\nb\nunreadable\nrefuse me", "c", "refuse all of it"]).await;
        let running = site.start_with(script, 1, site.context());
        let mut letters = site.dead_lettered(4).await;
        running.stop().await;
        assert_eq!(site.texts(SEEN).await, ["a", "b", "c"]);
        assert_eq!(site.depth(ledger::QUEUE).await, 0);

        letters.sort_by(|a, b| a.body.cmp(&b.body));
        let told: Vec<_> = letters
            .iter()
            .map(|l| (l.body.as_str(), l.code.as_str(), l.content_type.as_deref().unwrap()))
            .collect();
        assert_eq!(
            told,
            [
                // Out of a message with others: written out anew.
                ("poison 1", "scripted", "text/plain"),
                // The whole message: as it came.
                ("refuse all of it", "refused", "text/x-script"),
                ("refuse me", "refused", "text/plain"),
                ("unreadable", "malformed", "text/plain"),
            ]
        );
        assert_eq!(letters[0].reason, "poison 1 can never work");
        assert!(letters.iter().all(|letter| letter.worker == "ledger"));
        assert_eq!(letters[0].message_id.as_deref(), Some("message-0"));
    });
}

#[test]
fn a_dead_letter_says_where_it_came_from_and_carries_no_header_of_the_broker() {
    run(async |site| {
        let script = prepare(&site).await;
        let headers = [("colour", "blue"), ("x-death", "forged"), ("x-first-death-queue", "forged")];
        site.post(Post {
            exchange: exchange::FACTS,
            routing_key: "fact.usage".to_owned(),
            user_id: Some(site.amqp_user()),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            body: b"refuse it".to_vec(),
            ..Post::default()
        })
        .await;
        let running = site.start_with(script, 1, site.context());
        let letter = site.dead_lettered(1).await.remove(0);
        running.stop().await;

        let header = |name: &str| letter.headers.get(name).map(String::as_str);
        assert_eq!(header("colour"), Some("blue"));
        assert_eq!((header("x-death"), header("x-first-death-queue")), (None, None));
        assert_eq!(header(bus::header::EXCHANGE), Some(site.namespace.name(exchange::FACTS).as_str()));
        assert_eq!(header(bus::header::ROUTING_KEY), Some("fact.usage"));
        assert_eq!(header(bus::header::USER), Some(site.amqp_user().as_str()));
        assert!(header(bus::header::DEAD_AT).is_some());
        assert!(letter.message_id.is_some(), "a message without an id is given one");
    });
}

/// Headers travel in one frame, which has a size: a reason that does not fit would never be confirmed.
#[test]
fn a_dead_letter_fits_the_broker_however_long_its_reason() {
    run(async |site| {
        let script = prepare(&site).await;
        send(&site, &[&format!("poison {}", "long ".repeat(60_000)), "a"]).await;
        site.post(Post {
            exchange: exchange::FACTS,
            routing_key: "fact.usage".to_owned(),
            headers: [("colour".to_owned(), "blue ".repeat(24_000))].into(),
            body: format!("poison {}", "ünlike ".repeat(10_000)).into_bytes(),
            ..Post::default()
        })
        .await;
        let running = site.start_with(script, 1, site.context());
        let letter = site.dead_lettered(2).await.remove(0);
        site.until(SEEN_COUNT, 1).await;
        running.stop().await;
        assert!(letter.reason.starts_with("poison long long"), "{}", letter.reason);
        assert_eq!(letter.body.len(), "poison ".len() + 5 * 60_000, "the body is whole");
    });
}

#[test]
fn a_batch_that_fails_as_a_whole_is_split_until_the_culprit_stands_alone() {
    run(async |site| {
        let script = prepare(&site).await;
        let items: Vec<String> = (0..300)
            .map(|number| match number {
                77 => "unknown 77".to_owned(),
                200 => "panic 200".to_owned(),
                number => format!("item {number}"),
            })
            .collect();
        // One message, so that it is one batch.
        send(&site, &[&items.join("\n")]).await;
        let running = site.start_with(script.clone(), 1, site.context());
        let letters = site.dead_lettered(2).await;
        running.stop().await;
        assert_eq!(site.number("select count(distinct item) from seen").await, 298);
        assert_eq!(site.number(SEEN_COUNT).await, 298, "no neighbour was settled twice");
        let told: Vec<_> = letters.iter().map(|l| (l.code.as_str(), l.reason.as_str())).collect();
        assert_eq!(
            told,
            [("unknown", "nobody foresaw unknown 77"), ("panic", "it panicked: no way to do panic 200")]
        );
        assert!(script.attempts("item 0") < 12, "it is halved, not tried one by one");
        assert_eq!(site.depth(ledger::QUEUE).await, 0);
    });
}

#[test]
fn transient_errors_are_tried_again_and_never_dead_lettered() {
    run(async |site| {
        let script = prepare(&site).await;
        send(&site, &["a", "transient b", "c"]).await;
        let running = site.start_with(script.clone(), 1, site.context());
        site.until(SEEN_COUNT, 3).await;
        running.stop().await;
        assert_eq!(site.texts(SEEN).await, ["a", "c", "transient b"]);
        assert_eq!(script.attempts("transient b"), 4);
        assert_eq!(site.dead_letters().await, []);
        assert_eq!(site.depth(ledger::QUEUE).await, 0);
    });
}

/// Somebody's lock, or a database that hangs, is no fault of the facts that wait for it.
#[test]
fn facts_that_wait_long_for_the_database_are_not_dead_lettered() {
    run(async |site| {
        let script = prepare(&site).await;
        let mut holder = site.owner.begin().await.unwrap();
        sqlx::query("lock table seen").execute(&mut *holder).await.unwrap();
        send(&site, &["a"]).await;
        let running = site.start_with(script.clone(), 1, site.context());
        testkit::within(Duration::from_secs(50), "a second attempt, or giving up", async || {
            let given_up = site.depth(queue::DEAD_LETTERS).await > 0;
            (given_up || script.attempts("a") > 1).then_some(())
        })
        .await;
        holder.rollback().await.unwrap();
        assert_eq!(site.dead_letters().await, []);
        site.until(SEEN_COUNT, 1).await;
        running.stop().await;
    });
}

/// A pool whose statements end soon.
async fn impatient(site: &Site) -> db::Pool {
    let options: sqlx::postgres::PgConnectOptions = site.database_url.expose_secret().parse().unwrap();
    let options = options.options([("statement_timeout", "500ms")]);
    sqlx::postgres::PgPoolOptions::new().max_connections(2).connect_with(options).await.unwrap()
}

#[test]
fn an_item_whose_statement_never_ends_is_found_out_and_its_neighbours_are_settled() {
    run(async |site| {
        let script = prepare(&site).await;
        for statement in [
            "create function linger() returns trigger language plpgsql as
             $$ begin perform pg_sleep(60); return new; end $$",
            "create trigger linger before insert on seen for each row when (new.item = 'slow')
             execute function linger()",
        ] {
            sqlx::query(statement).execute(&site.owner).await.unwrap();
        }
        send(&site, &["a\nslow\nb", "c"]).await;
        let context = bus::Context { pool: impatient(&site).await, ..site.context() };
        let running = site.start_with(script, 1, context);
        let letter = site.dead_lettered(1).await.remove(0);
        running.stop().await;
        assert_eq!((letter.code.as_str(), letter.body.as_str()), ("time_limit", "slow"));
        assert!(letter.reason.contains("statement timeout"), "{}", letter.reason);
        assert_eq!(site.texts(SEEN).await, ["a", "b", "c"]);
    });
}

/// Its memory still answers a question, its disk takes nothing.
#[test]
fn while_the_database_takes_no_change_nobody_is_blamed_for_a_hang() {
    run(async |site| {
        let script = prepare(&site).await;
        let mut holder = site.owner.begin().await.unwrap();
        sqlx::query("lock table suspects").execute(&mut *holder).await.unwrap();
        send(&site, &["wait"]).await;
        let context = bus::Context {
            time_limit: Duration::from_millis(300),
            ladder: bus::Ladder::new(&[Duration::from_secs(60)]).unwrap(),
            ..site.context()
        };
        let running = site.start_with(script.clone(), 1, context);
        // Tried again at once, without a rest.
        script.entered().await;
        script.entered().await;
        holder.rollback().await.unwrap();
        script.pass.add_permits(10);
        site.until(SEEN_COUNT, 1).await;
        running.stop().await;
        assert_eq!(site.dead_letters().await, []);
    });
}

#[test]
fn nothing_is_acknowledged_before_its_dead_letter_is_confirmed() {
    run(async |site| {
        let script = prepare(&site).await;
        site.delete_queue(queue::DEAD_LETTERS).await;
        send(&site, &["poison"]).await;
        let running = site.start_with(script.clone(), 1, site.context());
        eventually("the poison to be found out", async || (script.attempts("poison") > 0).then_some(()))
            .await;
        running.stop().await;
        site.until_depth(ledger::QUEUE, 1).await;

        site.topology.declare(&site.broker).await.unwrap();
        let running = site.start_with(script, 1, site.context());
        site.dead_lettered(1).await;
        running.stop().await;
        assert_eq!(site.depth(ledger::QUEUE).await, 0);
    });
}

#[test]
fn a_worker_subscribes_again_when_its_queue_was_deleted_and_declared_again() {
    run(async |site| {
        let script = prepare(&site).await;
        let running = site.start_with(script, 2, site.context());
        send(&site, &["before"]).await;
        site.until(SEEN_COUNT, 1).await;

        site.delete_queue(ledger::QUEUE).await;
        eventually("both lanes to notice", async || (running.idle().len() == 2).then_some(())).await;
        site.topology.declare(&site.broker).await.unwrap();
        send(&site, &["after"]).await;
        site.until(SEEN_COUNT, 2).await;
        eventually("both lanes to consume", async || running.idle().is_empty().then_some(())).await;
        running.stop().await;
    });
}

#[test]
fn a_connection_cut_after_the_commit_repeats_the_batch_and_loses_nothing() {
    run(async |site| {
        let script = prepare(&site).await;
        let (relay, consume) = relay(&site).await;
        send(&site, &["wait 1"]).await;
        let running = site.start_with(script.clone(), 1, bus::Context { consume, ..site.context() });
        script.entered().await;
        send(&site, &["2", "3"]).await;
        relay.cut();
        script.pass.add_permits(2);
        site.until("select count(distinct item) from seen", 3).await;
        script.entered().await;
        site.until("select count(*) from seen where item = 'wait 1'", 2).await;
        running.stop().await;
        assert_eq!(site.depth(ledger::QUEUE).await, 0);
        assert_eq!(site.dead_letters().await, []);
    });
}

#[test]
fn a_graceful_stop_settles_the_batch_in_hand_and_leaves_the_rest_in_the_queue() {
    run(async |site| {
        let script = prepare(&site).await;
        send(&site, &["wait for me"]).await;
        let running = site.start_with(script.clone(), 1, site.context());
        script.entered().await;
        let rest: Vec<String> = (0..30).map(|number| format!("rest {number}")).collect();
        send(&site, &rest.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let stopping = tokio::spawn(running.stop());
        script.pass.add_permits(1);
        stopping.await.unwrap();
        assert_eq!(site.texts(SEEN).await, ["wait for me"]);
        site.until_depth(ledger::QUEUE, 30).await;
    });
}

#[test]
fn what_is_not_acknowledged_is_bounded_by_the_prefetch_after_a_reconnect_too() {
    run(async |site| {
        let script = prepare(&site).await;
        let (relay, consume) = relay(&site).await;
        let waiting: Vec<String> = (0..50).map(|number| format!("wait {number}")).collect();
        send(&site, &waiting.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let running = site.start_with(script.clone(), 1, bus::Context { consume, ..site.context() });
        script.entered().await;
        site.until_depth(ledger::QUEUE, 50 - u32::from(Script::PREFETCH)).await;

        relay.cut();
        site.until_depth(ledger::QUEUE, 50).await;
        script.pass.add_permits(1);
        script.entered().await;
        site.until_depth(ledger::QUEUE, 50 - u32::from(Script::PREFETCH)).await;

        script.pass.add_permits(100);
        site.until("select count(distinct item) from seen", 50).await;
        running.stop().await;
        assert_eq!(site.depth(ledger::QUEUE).await, 0);
    });
}

#[test]
fn declaring_the_topology_twice_is_declaring_it_once_and_a_check_finds_what_differs() {
    run(async |site| {
        let check = async || site.topology.check(&site.broker).await.unwrap();
        site.topology.declare(&site.broker).await.unwrap();
        assert_eq!(check().await, []);

        site.delete_queue(queue::GATE).await;
        let objects =
            |found: Vec<Difference>| found.into_iter().map(|found| found.object).collect::<Vec<_>>();
        assert_eq!(objects(check().await), [site.namespace.name(queue::GATE)]);

        declare_classic(&site, queue::GATE).await;
        let found = check().await;
        assert!(found[0].what.contains("PRECONDITION_FAILED"), "{found:?}");
        assert_eq!(objects(found), [site.namespace.name(queue::GATE)]);
        assert!(
            site.topology.declare(&site.broker).await.is_err(),
            "what exists otherwise is not overwritten"
        );
    });
}

async fn declare_classic(site: &Site, of: &str) {
    let channel = site.broker.channel().await.unwrap();
    let options = lapin::options::QueueDeclareOptions { durable: true, ..Default::default() };
    let name = site.namespace.name(of);
    channel.queue_declare(name.as_str().into(), options, lapin::types::FieldTable::default()).await.unwrap();
}
