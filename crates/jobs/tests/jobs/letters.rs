//! What was given up is a dead letter like any other: it is kept, foreseen, replayed, and done.

use crate::outside::{Fate, Mood, Outside, Temper};
use crate::world::{Calls, Desk, intent, limits, make_effects, schedule, start};
use bus::{Decoded, Incoming, Worker};
use db::Work;
use dead_letters::acts::{self, ActRequest, ReplayPace};
use dead_letters::read::Filter;
use dead_letters::{DeadLetters, replay};
use domain::AccountId;
use jobs::{
    ErasedJobs, Foreseen, JobErasure, JobLimits, JobState, Kinds, Owner, PutBack, Returning, Scheduled, code,
};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use testkit::{Running, Site, run};
use time::OffsetDateTime;

const DEAD: &str = "select count(*) from jobs where state = 'dead' and next_at is null";
const DONE: &str = "select count(*) from jobs where state = 'done'";
const LETTERS: &str = "select count(*) from dead_letters";

/// The owner's queue, and the workers that keep letters, put jobs back and carry out replays.
async fn open(site: &Site) -> (Running, Running) {
    make_effects(site).await;
    let channel = site.broker.channel().await.unwrap();
    let queue = site.namespace.name(Desk::QUEUE);
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await.unwrap();
    drop(channel.close(200, "done".into()).await);
    let (namespace, pool) = (site.namespace.clone(), site.pool.clone());
    let stop = site.over.child_token();
    tokio::spawn(replay::put_back(namespace, pool.clone(), site.publisher.clone()).run(stop.clone()));
    tokio::spawn(replay::follow(pool, site.readers()).run(stop));
    (
        site.start(DeadLetters::new(processors::Settings::default(), &bursar::workers::NAMES), 1),
        site.start(put_back(), 1),
    )
}

fn put_back() -> PutBack<Desk> {
    let calls = Calls::<0>::to("127.0.0.1:9".parse().unwrap(), limits(), None);
    Kinds::<Desk>::default().with(calls).unwrap().put_back()
}

async fn close(site: &Site, (keeper, putter): (Running, Running)) {
    keeper.stop().await;
    putter.stop().await;
    site.delete_queue(Desk::QUEUE).await;
}

/// Schedules a job whose calls all fail, and waits for its letter.
async fn gives_up(site: &Site, id: &str) {
    let outside = Outside::open(Temper::Always(Mood::Refuses)).await;
    let (dead, letters) = (site.number(DEAD).await, site.number(LETTERS).await);
    schedule::<0>(&site.pool, &intent(id, "a")).await;
    let twice = JobLimits { calls_max: 2, ..limits() };
    let (stop, running) = start(site, Calls::<0>::to(outside.address, twice, None));
    site.until(DEAD, dead + 1).await;
    site.until(LETTERS, letters + 1).await;
    stop.cancel();
    running.await.unwrap();
    assert_eq!((outside.count(id, Fate::Refused), outside.calls()), (2, 2));
}

async fn replay_all(site: &Site) {
    let order = ActRequest {
        by: "ana".to_owned(),
        reason: None,
        filter: Filter::default(),
        expected: None,
        max: None,
    };
    acts::start_replay(&site.pool, &order, ReplayPace::default(), OffsetDateTime::now_utc()).await.unwrap();
}

fn came(id: &str, body: &str) -> Returning {
    let message =
        Incoming { message_id: Some(id.to_owned()), body: body.as_bytes().to_vec(), ..Incoming::default() };
    let Some(Decoded::Item(item)) = put_back().decode(&message, OffsetDateTime::now_utc()).pop() else {
        panic!("{id} is no job")
    };
    item
}

async fn foreseen(site: &Site, id: &str, body: &str) -> Foreseen {
    let mut work = Work::new(site.pool.clone(), OffsetDateTime::now_utc());
    let foreseen = put_back().foresee(&mut work, &came(id, body)).await.unwrap();
    work.abandon().await;
    foreseen
}

#[test]
fn what_was_given_up_is_a_letter_and_a_replay_of_it_calls_again() {
    run(async |site| {
        let workers = open(&site).await;
        gives_up(&site, "one").await;
        let letter = site
            .texts("select concat_ws(' ', worker, queue, code, reason, message_id, json_array_length(attempts)) from dead_letters")
            .await;
        assert_eq!(letter, ["ledger ledger.jobs attempts_exhausted it was refused calls_0/one 2"]);
        let about = "select concat_ws(' ', account, payment, trim_scale(amount), currency) from dead_letters";
        assert_eq!(site.texts(about).await, ["a stripe:one 12.5 USD"]);
        let bodies = site.texts("select convert_from(body, 'UTF8') from dead_letters").await;
        assert_eq!(bodies, [r#"{"id":"one","key":"a"}"#]);
        let expect = Foreseen::Called("POST /calls for one".to_owned(), 3);
        assert_eq!(foreseen(&site, "calls_0/one", &bodies[0]).await, expect);

        replay_all(&site).await;
        site.until("select count(*) from dead_letters where state = 'resolved'", 1).await;
        let outside = Outside::open(Temper::Always(Mood::Prompt)).await;
        let (stop, running) = start(&site, Calls::<0>::to(outside.address, limits(), None));
        site.until(DONE, 1).await;
        assert_eq!((outside.calls(), outside.executed("one")), (1, 1));
        assert_eq!(site.number("select attempt::bigint from jobs").await, 3, "attempts are counted on");
        stop.cancel();
        running.await.unwrap();
        assert_eq!(foreseen(&site, "calls_0/one", &bodies[0]).await, Foreseen::Nothing(JobState::Done));
        close(&site, workers).await;
    });
}

#[test]
fn what_dies_again_is_another_letter_and_the_first_says_so() {
    run(async |site| {
        let workers = open(&site).await;
        gives_up(&site, "one").await;
        replay_all(&site).await;
        site.until("select count(*) from dead_letters where state = 'resolved'", 1).await;
        let outside = Outside::open(Temper::Always(Mood::Refuses)).await;
        let (stop, running) = start(&site, Calls::<0>::to(outside.address, limits(), None));
        site.until("select count(*) from dead_letters where state = 'dead_again'", 1).await;
        site.until("select count(*) from dead_letters where state = 'open' and previous is not null", 1)
            .await;
        stop.cancel();
        running.await.unwrap();
        assert_eq!(site.number(LETTERS).await, 2);
        close(&site, workers).await;
    });
}

#[test]
fn what_died_unknown_is_asked_about_before_a_replay_calls() {
    run(async |site| {
        let workers = open(&site).await;
        gives_up(&site, "one").await;
        sqlx::query("update jobs set is_unknown = true").execute(&site.pool).await.unwrap();
        let body = r#"{"id":"one","key":"a"}"#;
        let expect = Foreseen::Asked("POST /calls for one".to_owned(), 2);
        assert_eq!(foreseen(&site, "calls_0/one", body).await, expect);
        replay_all(&site).await;
        site.until("select count(*) from jobs where state = 'unknown'", 1).await;
        let outside = Outside::open(Temper::Always(Mood::Prompt)).await;
        let (stop, running) = start(&site, Calls::<0>::to(outside.address, limits(), None));
        site.until(DONE, 1).await;
        stop.cancel();
        running.await.unwrap();
        // It was asked about the second attempt, which never came there; then the third was made.
        assert_eq!((outside.count("one", Fate::Void), outside.executed("one")), (1, 1));
        close(&site, workers).await;
    });
}

#[test]
fn people_who_know_that_it_failed_say_so_and_a_replay_calls() {
    run(async |site| {
        let workers = open(&site).await;
        gives_up(&site, "one").await;
        let mut work = Work::new(site.pool.clone(), OffsetDateTime::now_utc());
        assert!(!jobs::declare_failed(&mut work, "calls_0", "one").await.unwrap(), "it is known already");
        sqlx::query("update jobs set is_unknown = true")
            .execute(work.connection().await.unwrap())
            .await
            .unwrap();
        assert!(jobs::declare_failed(&mut work, "calls_0", "one").await.unwrap());
        work.commit().await.unwrap();
        let expect = Foreseen::Called("POST /calls for one".to_owned(), 3);
        assert_eq!(foreseen(&site, "calls_0/one", r#"{"id":"one","key":"a"}"#).await, expect);
        close(&site, workers).await;
    });
}

#[test]
fn a_letter_that_is_published_twice_is_recorded_once() {
    run(async |site| {
        let workers = open(&site).await;
        gives_up(&site, "one").await;
        // As a process leaves it that dies between the confirm and its commit.
        sqlx::query("update jobs set next_at = now()").execute(&site.pool).await.unwrap();
        let (stop, running) = start(&site, Calls::<0>::to("127.0.0.1:9".parse().unwrap(), limits(), None));
        site.until("select copies::bigint from dead_letters", 2).await;
        site.until(DEAD, 1).await;
        stop.cancel();
        running.await.unwrap();
        assert_eq!(site.texts("select state from dead_letters").await, ["open"]);
        close(&site, workers).await;
    });
}

#[test]
fn what_comes_back_twice_or_changed_calls_nothing() {
    run(async |site| {
        let workers = open(&site).await;
        gives_up(&site, "one").await;
        let body = r#"{"id":"one","key":"a"}"#;
        let refused = |code| Foreseen::Refused(code);
        assert_eq!(foreseen(&site, "calls_0/two", body).await, refused(code::NO_SUCH_JOB));
        assert_eq!(foreseen(&site, "calls_7/one", body).await, refused(code::UNKNOWN_KIND));
        let changed = r#"{"id":"one","key":"b"}"#;
        assert_eq!(foreseen(&site, "calls_0/one", changed).await, refused(code::CHANGED_INTENT));
        // A replay puts it back once, whatever became of it since.
        replay_all(&site).await;
        site.until("select count(*) from dead_letters where state = 'resolved'", 1).await;
        let again =
            "update jobs set state = 'dead', ended_at = now(), next_at = null, code = 'x', reason = 'x'";
        sqlx::query(again).execute(&site.pool).await.unwrap();
        let replayed: (uuid::Uuid, uuid::Uuid) =
            sqlx::query_as("select replay, letter from jobs").fetch_one(&site.pool).await.unwrap();
        let returned = bus::Returned {
            first_failed_at: OffsetDateTime::now_utc(),
            attempts: Vec::new(),
            replayed: Some(bus::ReplayedLetter { replay: replayed.0, letter: replayed.1 }),
        };
        let message = Incoming {
            message_id: Some("calls_0/one".to_owned()),
            body: body.as_bytes().to_vec(),
            returned: Some(returned),
            ..Incoming::default()
        };
        site.publisher.publish_all(vec![message.replay(&site.namespace, Desk::QUEUE)]).await.unwrap();
        site.until_depth(Desk::QUEUE, 0).await;
        close(&site, workers).await;
        assert_eq!(site.number("select count(*) from jobs where state = 'dead'").await, 1);
    });
}

/// What is still to be called keeps what it is to say: a refund that is under way is not lost because its account is erased.
#[test]
fn an_erased_accounts_jobs_are_forgotten_once_they_are_at_their_end() {
    run(async |site| {
        let workers = open(&site).await;
        gives_up(&site, "dead").await;
        schedule::<0>(&site.pool, &intent("done", "a")).await;
        schedule::<0>(&site.pool, &intent("of_another", "b")).await;
        let done = "update jobs set state = 'done', next_at = null, ended_at = now() where id in ('done', 'of_another')";
        sqlx::query(done).execute(&site.pool).await.unwrap();
        schedule::<0>(&site.pool, &intent("due", "a")).await;
        let account = AccountId::new("a").unwrap();
        let (by, reason, before) = ("ada", "asked to", None);
        let forget = async |before| {
            let erasure = JobErasure { account: &account, before, by, reason };
            jobs::forget(&site.pool, erasure, OffsetDateTime::now_utc()).await.unwrap()
        };
        let kept = async || site.texts("select id from jobs where intent::text <> '{}' order by id").await;

        let long_ago = Some(OffsetDateTime::UNIX_EPOCH);
        assert_eq!(forget(long_ago).await, ErasedJobs { forgotten: 0, left: 0 }, "none is so old");
        assert_eq!(forget(before).await, ErasedJobs { forgotten: 1, left: 2 });
        assert_eq!(kept().await, ["dead", "due", "of_another"]);
        let order = ActRequest {
            by: by.to_owned(),
            reason: Some(reason.to_owned()),
            filter: Filter::default(),
            expected: None,
            max: None,
        };
        acts::discard(&site.pool, &order, OffsetDateTime::now_utc()).await.unwrap();
        assert_eq!(forget(before).await, ErasedJobs { forgotten: 1, left: 1 }, "its letter is closed");
        assert_eq!(forget(before).await, ErasedJobs { forgotten: 0, left: 1 }, "nothing twice");
        assert_eq!(kept().await, ["due", "of_another"]);
        let acts = "select concat_ws(' ', by, act, subject, details ->> 'jobs') from audit order by number";
        assert_eq!(site.texts(acts).await, ["ada forget a 1", "ada forget a 1"]);
        // Its id is known for good, and nothing is called twice.
        let known = Scheduled::Known { state: JobState::Done, is_same_intent: true };
        assert_eq!(schedule::<0>(&site.pool, &intent("done", "a")).await, known);
        close(&site, workers).await;
    });
}
