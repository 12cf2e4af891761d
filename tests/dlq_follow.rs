//! Replays of what is passed on from worker to worker: each finds its end, whatever its fact met before, and whoever stops a
//! replay does not wait for a broker that confirms nothing.

use crate::dead_letters::{Dead, bury, order, recorded, spent, states};
use crate::payloads::paddle_payload;
use bus::{Broker, Message, Publisher, REPLAYED, exchange, queue};
use dead_letters::acts::{self, ReplayPace};
use dead_letters::read::Filter;
use dead_letters::{DeadLetters, replay};
use domain::Fact;
use secrecy::ExposeSecret;
use serde_json::json;
use std::time::Duration;
use testkit::facts::{envelope, payment};
use testkit::{Relay, Running, Site, eventually, run};
use time::OffsetDateTime;
use uuid::Uuid;

fn carry_out(site: &Site, publisher: Publisher) {
    let stop = site.over.child_token();
    tokio::spawn(replay::put_back(site.namespace.clone(), site.pool.clone(), publisher).run(stop.clone()));
    tokio::spawn(replay::follow(site.pool.clone(), site.readers()).run(stop));
}

fn keeper(site: &Site) -> Running {
    site.start(DeadLetters::new(processors::Settings::default(), &bursar::workers::NAMES), 1)
}

/// A webhook that the ingester gave up on, and a letter of the same fact by a later worker.
fn webhook_and_later(worker: &'static str, queue: &'static str) -> [Dead; 2] {
    let webhook = paddle_payload("transaction.completed");
    let fact = format!("paddle/{}", webhook["event_id"].as_str().unwrap());
    let of_fact = Dead::of(&envelope(&fact, Fact::Payment(payment("txn_1", "acct_1"))));
    let ingester = Dead {
        message_id: "1".to_owned(),
        worker: "ingester",
        queue: queue::INGESTER,
        code: "unverified",
        routing_key: "raw.paddle".to_owned(),
        body: webhook.to_string().into_bytes(),
        ..Dead::of(&spent("unused", 1))
    };
    [ingester, Dead { message_id: "2".to_owned(), worker, queue, code: "two_payments", ..of_fact }]
}

async fn change(site: &Site, statement: &'static str) {
    sqlx::query(statement).execute(&site.owner).await.unwrap();
}

/// Replays the letter, takes its message out of its queue, and tells that it was passed on.
async fn passed_on(site: &Site, letter: Uuid, queue: &str, outcome: &str) -> Uuid {
    let now = OffsetDateTime::now_utc();
    let order = order(Filter::letter(letter));
    let (replay, _) = acts::start_replay(&site.pool, &order, ReplayPace::default(), now).await.unwrap();
    site.until("select count(*) from replay_letters where state = 'waiting'", 0).await;
    site.take(queue).await;
    let told =
        json!([{ "replay": replay, "letter": letter, "outcome": outcome, "at": "2026-11-20T11:00:00Z" }]);
    let exchange = site.namespace.name(exchange::DEAD);
    let id = format!("{replay}-{letter}");
    let message = Message::new(exchange, REPLAYED, id, "application/json", None, told.to_string());
    site.publisher.publish_all(vec![message]).await.unwrap();
    replay
}

/// The webhook came by another way meanwhile, and the ledger refused its fact: the gate says no more than that it has it.
#[test]
fn a_replayed_webhook_whose_fact_was_refused_before_ends_as_that_letter_whatever_its_state() {
    run(async |site| {
        for (state, closed) in [("open", false), ("discarded", true), ("dead_again", true)] {
            change(&site, "truncate dead_letters, replays, replay_letters, fingerprints").await;
            bury(&site, webhook_and_later("ledger", ledger::QUEUE)).await;
            let letters = recorded(&site, 2).await;
            sqlx::query("update dead_letters set state = $1, closed_at = case when $2 then now() end where worker = 'ledger'")
                .bind(state)
                .bind(closed)
                .execute(&site.owner)
                .await
                .unwrap();
            let keeper = keeper(&site);
            carry_out(&site, site.publisher.clone());
            passed_on(&site, letters[0].line.letter, queue::INGESTER, "translated").await;
            site.until("select count(*) from replays where state = 'finished'", 1).await;
            keeper.stop().await;
            let expect = ["dead_again two_payments", state];
            assert_eq!(states(&site).await, expect);
            assert_eq!(
                site.number(
                    "select count(*) from dead_letters n join dead_letters l on n.previous = l.letter"
                )
                .await,
                1
            );
        }
    });
}

/// The gate may admit now what it gave up on before: only what it says since then counts, and since when is told by
/// Postgres, for the clocks of two workers differ.
#[test]
fn a_letter_of_the_gate_counts_where_it_came_after_the_message_was_put_back() {
    run(async |site| {
        let [webhook, of_gate] = webhook_and_later("gate", queue::GATE);
        bury(&site, [webhook, copy(&of_gate)]).await;
        let letters = recorded(&site, 2).await;
        let keeper = keeper(&site);
        carry_out(&site, site.publisher.clone());
        passed_on(&site, letters[0].line.letter, queue::INGESTER, "translated").await;
        site.until("select count(*) from replay_letters where outcome is not null", 1).await;
        let version = "select xmin::text from replays";
        let before = site.texts(version).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(states(&site).await, ["replaying", "open"], "an old one says nothing");
        assert_eq!(site.texts(version).await, before, "a replay that waits writes nothing");
        // The same comes again, with the time of a clock that is days behind.
        bury(&site, [of_gate]).await;
        site.until("select count(*) from replays where state = 'finished'", 1).await;
        assert_eq!(states(&site).await, ["dead_again two_payments", "open"]);
        keeper.stop().await;
    });
}

fn copy(dead: &Dead) -> Dead {
    Dead {
        reason: dead.reason.clone(),
        routing_key: dead.routing_key.clone(),
        message_id: dead.message_id.clone(),
        user: None,
        headers: dead.headers.clone(),
        body: dead.body.clone(),
        ..*dead
    }
}

#[test]
fn what_is_never_heard_of_is_open_again_in_the_end() {
    run(async |site| {
        bury(&site, webhook_and_later("gate", queue::GATE)).await;
        let letters = recorded(&site, 2).await;
        let keeper = keeper(&site);
        carry_out(&site, site.publisher.clone());
        passed_on(&site, letters[0].line.letter, queue::INGESTER, "translated").await;
        site.until("select count(*) from replay_letters where outcome is not null", 1).await;
        change(&site, "update replay_letters set published_at = published_at - interval '25 hours'").await;
        change(&site, "update dead_letters set told_at = told_at - interval '26 hours'").await;
        site.until("select count(*) from replays where state = 'finished'", 1).await;
        assert_eq!(states(&site).await, ["open", "open"]);
        assert_eq!(
            site.texts("select state || ' ' || outcome from replay_letters").await,
            ["released its outcome never came"]
        );
        keeper.stop().await;
    });
}

/// Letters on their way whose outcome does not come; each of a fact that nobody knows.
const STUCK: &str = "
    with letters as (
        insert into dead_letters (letter, key, state, worker, queue, code, reason, fingerprint, attempts, first_failed_at, dead_at,
            recorded_at, exchange, routing_key, message_id, headers, body, source, id, replay)
        select ('00000000-0000-7000-8000-' || lpad(i::text, 12, '0'))::uuid, sha256(i::text::bytea), 'replaying', 'ingester',
            'ingester', 'unverified', 'r', 'f', '[]', now(), now(), now(), 'raw', 'raw.paddle', i::text, '{}', '', 'paddle',
            'stuck_' || i, '00000000-0000-7000-8000-000000000000'
        from generate_series(1, 2500) i returning letter, replay)
    insert into replay_letters (replay, place, letter, state, outcome, published_at)
    select replay, row_number() over (), letter, 'published', 'translated', now() from letters";

#[test]
fn letters_whose_outcome_does_not_come_hide_no_others() {
    run(async |site| {
        change(&site, STUCK).await;
        let garbage = Dead {
            worker: "ingester",
            queue: queue::INGESTER,
            body: b"x".to_vec(),
            ..Dead::of(&spent("1", 1))
        };
        bury(&site, [garbage]).await;
        let keeper = keeper(&site);
        site.until("select count(*) from dead_letters where state = 'open'", 1).await;
        let letter: Uuid = sqlx::query_scalar("select letter from dead_letters where state = 'open'")
            .fetch_one(&site.pool)
            .await
            .unwrap();
        carry_out(&site, site.publisher.clone());
        passed_on(&site, letter, queue::INGESTER, "translated").await;
        site.until("select count(*) from dead_letters where state = 'resolved'", 1).await;
        keeper.stop().await;
    });
}

/// When its broker takes nothing is just when somebody wants to stop a replay.
#[test]
fn a_replay_is_paused_and_cancelled_at_once_while_the_broker_confirms_nothing() {
    run(async |site| {
        let url = site.amqp_url.expose_secret().to_owned();
        let relay = Relay::to(&url, 5672);
        let broker = Broker::new(relay.url(&url).into(), "by the relay");
        let publisher = Publisher::spawn(broker, Duration::from_secs(20));
        eventually("the publisher's channel", async || publisher.is_connected().then_some(())).await;
        bury(&site, ["1", "2"].map(|id| Dead::of(&spent(id, 1)))).await;
        recorded(&site, 2).await;
        relay.hold();
        let now = OffsetDateTime::now_utc();
        let all = order(Filter::default());
        let (replay, _) = acts::start_replay(&site.pool, &all, ReplayPace::default(), now).await.unwrap();
        carry_out(&site, publisher);
        eventually("a step to be under way", async || {
            // It has read its letters and waits for the broker, in the middle of its transaction.
            let handed_over = "select count(*) from pg_stat_activity where datname = current_database()
                               and state = 'idle in transaction' and query like 'with next as (%from replay_letters%'";
            (site.number(handed_over).await > 0).then_some(())
        })
        .await;
        let stopped = tokio::time::timeout(Duration::from_secs(5), async {
            acts::pause(&site.pool, replay, "ada", now).await.unwrap();
            acts::cancel(&site.pool, replay, "ada", now).await.unwrap()
        });
        assert_eq!(stopped.await.expect("it does not wait"), 2);
        assert_eq!(states(&site).await, ["open", "open"]);
        // They were going out: that is noted once the broker says so, and their outcome is waited for.
        relay.open();
        site.until("select count(*) from replay_letters where state = 'published'", 2).await;
        assert_eq!(states(&site).await, ["replaying", "replaying"]);
        assert_eq!(site.texts("select state from replays").await, ["cancelled"]);
    });
}
