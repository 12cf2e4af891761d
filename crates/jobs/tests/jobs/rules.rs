//! The rules of a job, one by one.

use crate::outside::{Fate, Mood, Outside, Temper};
use crate::world::{
    Calls, Death, Desk, Mortal, PACE, Step, intent, limits, make_effects, schedule, servers, start,
};
use db::{Doing, Work};
use jobs::{
    Asked, CallAttempt, Called, Delay, Job, JobLimits, JobState, JobSubject, JobVerdict, KeptFor, Kinds,
    NewJob, Scheduled, SettledAnswer, Status, code,
};
use serde::{Deserialize, Serialize};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use testkit::{Site, eventually, run};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

fn work(site: &Site) -> Work {
    Work::new(site.pool.clone(), OffsetDateTime::now_utc())
}

async fn status(site: &Site, kind: &str, id: &str) -> Option<Status> {
    jobs::status(&mut work(site), kind, id).await.unwrap()
}

/// Waits until a job is in a state, and tells how it stands then.
async fn until(site: &Site, kind: &str, id: &str, state: JobState) -> Status {
    eventually(&format!("{id} to be {state:?}"), async || {
        status(site, kind, id).await.filter(|status| status.state == state)
    })
    .await
}

#[test]
fn a_second_schedule_of_an_id_is_a_value_and_changes_nothing() {
    run(async |site| {
        make_effects(&site).await;
        let first = intent("one", "a");
        assert_eq!(schedule::<0>(&site.pool, &first).await, Scheduled::New);
        let known = |is_same_intent| Scheduled::Known { state: JobState::Due, is_same_intent };
        assert_eq!(schedule::<0>(&site.pool, &first).await, known(true));
        let mut other = work(&site);
        let scheduled = jobs::schedule::<Calls<0>>(&mut other, "one", &intent("one", "b")).await;
        assert_eq!(scheduled.unwrap(), known(false));
        other.commit().await.unwrap();
        // Another kind has ids of its own; what is not committed was never scheduled.
        assert_eq!(schedule::<1>(&site.pool, &first).await, Scheduled::New);
        let mut abandoned = work(&site);
        jobs::schedule::<Calls<0>>(&mut abandoned, "two", &intent("two", "a")).await.unwrap();
        abandoned.abandon().await;
        assert_eq!(status(&site, "calls_0", "two").await, None);
        let outside = Outside::open(Temper::Always(Mood::Prompt)).await;
        let _running = start(&site, Calls::<0>::to(outside.address, limits(), None));
        until(&site, "calls_0", "one", JobState::Done).await;
        assert_eq!((outside.calls(), outside.executed("one")), (1, 1));
        assert_eq!(status(&site, "calls_1", "one").await.unwrap().state, JobState::Due, "it has no runner");
    });
}

#[test]
fn the_jobs_of_a_batch_are_scheduled_in_one_statement_and_each_is_told_of() {
    run(async |site| {
        let known = |is_same_intent| Scheduled::Known { state: JobState::Due, is_same_intent };
        schedule::<0>(&site.pool, &intent("two", "a")).await;
        schedule::<0>(&site.pool, &intent("three", "a")).await;
        let mut batch = work(&site);
        let at = batch.now + Duration::from_secs(3600);
        let intents = [
            ("one", intent("one", "a")),
            ("two", intent("two", "a")),
            ("three", intent("three", "b")),
            ("one", intent("one", "a")),
            ("four", intent("four", "c")),
        ];
        let jobs = intents.each_ref().map(|(id, intent)| NewJob { id, intent, at: Some(at) });
        let scheduled = jobs::schedule_all::<Calls<0>>(&mut batch, &jobs).await.unwrap();
        assert_eq!(scheduled, [Scheduled::New, known(true), known(false), known(true), Scheduled::New]);
        assert_eq!(batch.statements(), 2, "one for all, one for those that are known");
        batch.commit().await.unwrap();
        let rows = "select concat_ws(' ', id, key, account, next_at > now()) from jobs order by id";
        assert_eq!(site.texts(rows).await, ["four c c t", "one a a t", "three a a f", "two a a f"]);

        let mut many = work(&site);
        let intents: Vec<_> = (0..500).map(|number| intent(&format!("many-{number}"), "m")).collect();
        let jobs: Vec<_> = intents.iter().map(|intent| NewJob { id: &intent.id, intent, at: None }).collect();
        let scheduled = jobs::schedule_all::<Calls<0>>(&mut many, &jobs).await.unwrap();
        assert!(scheduled.iter().all(|scheduled| *scheduled == Scheduled::New));
        assert_eq!((scheduled.len(), many.statements()), (500, 1));
        assert!(jobs::schedule_all::<Calls<0>>(&mut many, &[]).await.unwrap().is_empty());
        // One that is refused takes all of them along.
        let long = "x".repeat(181);
        let jobs = [NewJob { id: "fine", ..jobs[0] }, NewJob { id: &long, ..jobs[0] }];
        jobs::schedule_all::<Calls<0>>(&mut many, &jobs).await.unwrap_err();
        many.abandon().await;
        assert_eq!(site.number("select count(*) from jobs").await, 4);
    });
}

#[test]
fn what_is_scheduled_for_later_waits_for_its_time() {
    run(async |site| {
        make_effects(&site).await;
        let outside = Outside::open(Temper::Always(Mood::Prompt)).await;
        let mut later = work(&site);
        let at = later.now + Duration::from_secs(3600);
        let one = intent("one", "a");
        jobs::schedule_at::<Calls<0>>(&mut later, "one", &one, Some(at)).await.unwrap();
        later.commit().await.unwrap();
        schedule::<0>(&site.pool, &intent("two", "a")).await;
        let _running = start(&site, Calls::<0>::to(outside.address, limits(), None));
        until(&site, "calls_0", "two", JobState::Done).await;
        let one = status(&site, "calls_0", "one").await.unwrap();
        assert_eq!((one.state, one.attempt, one.next_at), (JobState::Due, 0, Some(at)));
    });
}

#[test]
fn an_end_that_comes_after_its_lease_writes_nothing() {
    run(async |site| {
        make_effects(&site).await;
        schedule::<0>(&site.pool, &intent("one", "a")).await;
        let outside = Outside::open(Temper::Steady(|_| Duration::from_millis(3000))).await;
        // The first one takes its time; meanwhile its lease is ended by hand, as if it had stood still.
        let slow = JobLimits { call: Duration::from_secs(5), lease: Duration::from_secs(60), ..limits() };
        let came = outside.came();
        let (stop, first) = start(&site, Calls::<0>::to(outside.address, slow, None));
        came.await;
        stop.cancel();
        let ended = "update jobs set next_at = now() - interval '1 second' where state = 'calling'";
        assert_eq!(sqlx::query(ended).execute(&site.pool).await.unwrap().rows_affected(), 1);
        // The second one asks; what it learns is what holds.
        let second = Mortal::start::<0>(&site, &outside, slow, None);
        until(&site, "calls_0", "one", JobState::Done).await;
        first.await.unwrap();
        drop(second);
        assert_eq!(outside.wrongs(), Vec::<String>::new());
        assert_eq!((outside.calls(), site.number("select count(*) from effects").await), (1, 1));
        assert_eq!(site.number("select asks::bigint from jobs").await, 1, "it was asked, not called again");
    });
}

/// Says how many transactions of the site are open while it is called.
struct Observer {
    pool: db::Pool,
    open: Mutex<Vec<i64>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Nothing;

impl Job for Observer {
    const KIND: &'static str = "observer";
    type Intent = Nothing;
    type Answer = ();
    type Error = db::Error;

    fn key(_: &Nothing) -> String {
        "one".to_owned()
    }

    fn about(_: &Nothing) -> JobSubject {
        JobSubject::default()
    }

    async fn call(&self, _: &CallAttempt<Nothing>) -> Called<()> {
        let open = "select count(*) from pg_stat_activity
                    where datname = current_database() and pid <> pg_backend_pid()
                      and (xact_start is not null or state like 'idle in transaction%')
                      and usename = current_user and query like '%jobs%'";
        let mut seen = 0;
        for _ in 0..20 {
            seen += sqlx::query_scalar::<_, i64>(open).fetch_one(&self.pool).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.open.lock().unwrap().push(seen);
        Called::Answered(())
    }

    async fn settle(
        &self,
        _: &mut Work,
        _: &CallAttempt<Nothing>,
        (): &(),
    ) -> Result<SettledAnswer, db::Error> {
        Ok(JobVerdict::Done.into())
    }
}

#[test]
fn no_transaction_is_open_while_the_outside_is_called() {
    run(async |site| {
        let mut work = work(&site);
        jobs::schedule::<Observer>(&mut work, "one", &Nothing).await.unwrap();
        work.commit().await.unwrap();
        let observer = std::sync::Arc::new(Observer { pool: site.owner.clone(), open: Mutex::default() });
        let kinds = Kinds::<Desk>::default().with(Shared(observer.clone())).unwrap();
        // It looks so rarely that it is at nothing else meanwhile.
        let pace = jobs::RunnerPace { look: Duration::from_secs(30), ..PACE };
        tokio::spawn(jobs::run(kinds, servers(&site), pace, site.over.child_token()));
        until(&site, "observer", "one", JobState::Done).await;
        assert_eq!(*observer.open.lock().unwrap(), [0]);
    });
}

/// A handler that a test looks into.
struct Shared<J>(std::sync::Arc<J>);

impl<J: Job> Job for Shared<J> {
    const KIND: &'static str = J::KIND;
    type Intent = J::Intent;
    type Answer = J::Answer;
    type Error = J::Error;

    fn about(intent: &J::Intent) -> JobSubject {
        J::about(intent)
    }

    fn key(intent: &J::Intent) -> String {
        J::key(intent)
    }

    fn limits(&self) -> JobLimits {
        self.0.limits()
    }

    fn call(&self, attempt: &CallAttempt<J::Intent>) -> impl Future<Output = Called<J::Answer>> + Send {
        self.0.call(attempt)
    }

    async fn ask(&self, attempt: &CallAttempt<J::Intent>) -> Asked<J::Answer> {
        self.0.ask(attempt).await
    }

    async fn settle(
        &self,
        work: &mut Work,
        attempt: &CallAttempt<J::Intent>,
        answer: &J::Answer,
    ) -> Result<SettledAnswer, J::Error> {
        self.0.settle(work, attempt, answer).await
    }

    async fn gave_up(
        &self,
        work: &mut Work,
        attempt: &CallAttempt<J::Intent>,
        code: &str,
        why: &str,
    ) -> Result<Option<bus::EmittedEvents>, J::Error> {
        self.0.gave_up(work, attempt, code, why).await
    }
}

/// What it is told to do: `panic`, `panic_at_once`, `hang`, `not_sent`, `impossible`, `again`, `unknown`, `settle_panics`, `settle_fails`,
/// `settle_never_passes`.
#[derive(Default)]
struct Odd {
    calls: AtomicU32,
    gave_up: Mutex<Vec<String>>,
}

impl Job for Odd {
    const KIND: &'static str = "odd";
    type Intent = String;
    type Answer = ();
    type Error = db::Error;

    fn about(_: &String) -> JobSubject {
        JobSubject::default()
    }

    fn key(intent: &String) -> String {
        intent.clone()
    }

    fn limits(&self) -> JobLimits {
        JobLimits { calls_max: 3, asks_max: 2, call: Duration::from_millis(50), ..limits() }
    }

    fn call(&self, attempt: &CallAttempt<String>) -> impl Future<Output = Called<()>> + Send {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let manner = attempt.intent.clone();
        assert_ne!(manner, "panic_at_once");
        async move {
            match manner.as_str() {
                "panic" => panic!("no way"),
                "hang" => std::future::pending().await,
                "not_sent" => Called::NotSent("nobody is there".to_owned()),
                "impossible" => Called::Impossible("its path makes no URL".to_owned()),
                "unknown" => Called::Unknown("half an answer".to_owned()),
                _ => Called::Answered(()),
            }
        }
    }

    async fn ask(&self, attempt: &CallAttempt<String>) -> Asked<()> {
        match attempt.intent.as_str() {
            "settle_never_passes" => Asked::Answered(()),
            _ => Asked::Unknown("there is no way to ask".to_owned()),
        }
    }

    async fn settle(
        &self,
        work: &mut Work,
        attempt: &CallAttempt<String>,
        (): &(),
    ) -> Result<SettledAnswer, db::Error> {
        match attempt.intent.as_str() {
            "settle_panics" => panic!("no way to write"),
            "settle_fails" => {
                let failed = sqlx::query("select 1 / 0").execute(work.connection().await?).await;
                Err(failed.map(|_| ()).map_err(|error| db::Error::stored("a number", error)).unwrap_err())
            }
            // As a lock that is never free.
            "settle_never_passes" => {
                let fails = "do $$ begin raise exception using errcode = 'serialization_failure'; end $$";
                let failed = sqlx::query(fails).execute(work.connection().await?).await;
                failed.doing("failing for a while").map(|_| JobVerdict::Done.into())
            }
            "again" => Ok(JobVerdict::Again(Delay::After(Duration::ZERO), "no".to_owned()).into()),
            _ => Ok(JobVerdict::Done.into()),
        }
    }

    async fn gave_up(
        &self,
        _: &mut Work,
        attempt: &CallAttempt<String>,
        code: &str,
        _why: &str,
    ) -> Result<Option<bus::EmittedEvents>, db::Error> {
        self.gave_up.lock().unwrap().push(format!("{} {code}", attempt.intent));
        Ok(None)
    }
}

#[test]
fn whatever_a_handler_does_ends_and_is_never_called_twice_by_itself() {
    run(async |site| {
        let odd = std::sync::Arc::new(Odd::default());
        let kinds = Kinds::<Desk>::default().with(Shared(odd.clone())).unwrap();
        tokio::spawn(jobs::run(kinds, servers(&site), PACE, site.over.child_token()));
        let check = async |manner: &str, calls: u32, code: &str, is_unknown: bool| {
            odd.calls.store(0, Ordering::Relaxed);
            let mut work = work(&site);
            jobs::schedule::<Odd>(&mut work, manner, &manner.to_owned()).await.unwrap();
            work.commit().await.unwrap();
            let status = until(&site, "odd", manner, JobState::Dead).await;
            assert_eq!(odd.calls.load(Ordering::Relaxed), calls, "{manner}");
            assert_eq!((status.code.as_deref(), status.is_unknown), (Some(code), is_unknown), "{manner}");
            assert_eq!(odd.gave_up.lock().unwrap().last().unwrap(), &format!("{manner} {code}"));
        };
        check("panic", 1, code::UNKNOWN_END, true).await;
        check("panic_at_once", 1, code::UNKNOWN_END, true).await;
        check("impossible", 1, code::IMPOSSIBLE_REQUEST, false).await;
        check("hang", 1, code::UNKNOWN_END, true).await;
        check("unknown", 1, code::UNKNOWN_END, true).await;
        check("settle_panics", 1, code::UNKNOWN_END, true).await;
        check("settle_fails", 1, code::UNKNOWN_END, true).await;
        check("settle_never_passes", 1, code::UNKNOWN_END, true).await;
        check("not_sent", 3, code::ATTEMPTS, false).await;
        check("again", 3, code::ATTEMPTS, false).await;
    });
}

#[test]
fn more_questions_than_the_limit_are_given_up_without_the_handler() {
    run(async |site| {
        let odd = std::sync::Arc::new(Odd::default());
        let row = "insert into jobs (kind, id, key, intent, state, next_at, scheduled_at, attempt, calls, called_at, asks, holder)
                   values ('odd', 'one', 'k', '\"unknown\"', 'asking', now(), now(), 1, 1, now(), 3, gen_random_uuid())";
        sqlx::query(row).execute(&site.pool).await.unwrap();
        let kinds = Kinds::<Desk>::default().with(Shared(odd.clone())).unwrap();
        tokio::spawn(jobs::run(kinds, servers(&site), PACE, site.over.child_token()));
        let status = until(&site, "odd", "one", JobState::Dead).await;
        assert_eq!((status.code.as_deref(), status.is_unknown), (Some(code::UNKNOWN_END), true));
        assert_eq!(odd.gave_up.lock().unwrap().len(), 0, "a process may have ended while it was told");
    });
}

#[test]
fn limits_that_cannot_hold_are_refused() {
    let check = |is_fine: bool, limits: JobLimits| {
        let calls = Calls::<0>::to("127.0.0.1:9".parse().unwrap(), limits, None);
        assert_eq!(Kinds::<Desk>::default().with(calls).is_ok(), is_fine, "{limits:?}");
    };
    check(true, limits());
    check(true, JobLimits { calls_max: 1_000_000, ..limits() });
    check(false, JobLimits { calls_max: u32::MAX, ..limits() });
    check(false, JobLimits { asks_max: u32::MAX, ..limits() });
    check(false, JobLimits { of_key: 0, ..limits() });
    check(false, JobLimits { call: Duration::MAX, ..limits() });
    check(false, JobLimits { lease: Duration::MAX, ..limits() });
}

#[test]
fn a_job_that_is_taken_up_too_late_is_not_called_and_none_is_counted() {
    run(async |site| {
        let odd = std::sync::Arc::new(Odd::default());
        let kinds = Kinds::<Desk>::default().with(Shared(odd.clone())).unwrap();
        let mut work = work(&site);
        jobs::schedule::<Odd>(&mut work, "one", &"not_sent".to_owned()).await.unwrap();
        work.commit().await.unwrap();
        // Who takes waits for this lock, for longer than the lease.
        let mut other = site.pool.begin().await.unwrap();
        let lock = "select pg_advisory_xact_lock(hashtextextended('bursar jobs odd', 0))";
        sqlx::query(lock).execute(&mut *other).await.unwrap();
        tokio::spawn(jobs::run(kinds, servers(&site), PACE, site.over.child_token()));
        sqlx::query("select pg_sleep(1)").execute(&mut *other).await.unwrap();
        other.commit().await.unwrap();
        let status = until(&site, "odd", "one", JobState::Dead).await;
        assert_eq!((status.attempt, status.code.as_deref()), (4, Some(code::ATTEMPTS)));
        assert_eq!(odd.calls.load(Ordering::Relaxed), 3, "as many as the limit allows");
    });
}

#[test]
fn who_is_asked_to_stop_ends_what_is_in_hand_and_takes_nothing_more() {
    run(async |site| {
        make_effects(&site).await;
        let outside = Outside::open(Temper::Steady(|_| Duration::from_millis(1500))).await;
        let patient =
            JobLimits { call: Duration::from_secs(5), lease: Duration::from_secs(60), of_key: 1, ..limits() };
        for id in ["one", "two"] {
            schedule::<0>(&site.pool, &intent(id, "a")).await;
        }
        let came = outside.came();
        let (stop, running) = start(&site, Calls::<0>::to(outside.address, patient, None));
        came.await;
        stop.cancel();
        running.await.unwrap();
        assert_eq!(site.number("select count(*) from jobs where state = 'done'").await, 1);
        assert_eq!(site.number("select count(*) from jobs where state = 'due' and attempt = 0").await, 1);
        // Who must not take that long leaves it, and it is unknown once its lease ends: never called again by itself.
        let impatient = jobs::RunnerPace { drain: Duration::ZERO, ..PACE };
        let kinds = Kinds::<Desk>::default().with(Calls::<0>::to(outside.address, patient, None)).unwrap();
        let (stop, came) = (CancellationToken::new(), outside.came());
        let running = tokio::spawn(jobs::run(kinds, servers(&site), impatient, stop.clone()));
        came.await;
        stop.cancel();
        running.await.unwrap();
        assert_eq!(site.number("select count(*) from jobs where state = 'calling'").await, 1);
        sqlx::query("update jobs set next_at = now() where state = 'calling'")
            .execute(&site.pool)
            .await
            .unwrap();
        let _running = start(&site, Calls::<0>::to(outside.address, patient, None));
        site.until("select count(*) from jobs where state = 'done'", 2).await;
        assert_eq!((outside.calls(), outside.wrongs()), (2, Vec::new()));
    });
}

#[test]
fn a_crash_before_the_call_is_asked_about_and_then_called() {
    run(async |site| {
        make_effects(&site).await;
        let outside = Outside::open(Temper::Always(Mood::Prompt)).await;
        schedule::<0>(&site.pool, &intent("one", "a")).await;
        let (come, mut came) = mpsc::unbounded_channel();
        let death = Death { at: Step::Taken, after: Mutex::new(0), come };
        let mortal = Mortal::start::<0>(&site, &outside, limits(), Some(death));
        came.recv().await.unwrap();
        drop(mortal);
        assert_eq!(status(&site, "calls_0", "one").await.unwrap().state, JobState::Calling);
        let _running = start(&site, Calls::<0>::to(outside.address, limits(), None));
        let status = until(&site, "calls_0", "one", JobState::Done).await;
        // The first attempt was asked about, and so is void: it could not be executed any more had it come late.
        assert_eq!(status.attempt, 2);
        assert_eq!((outside.count("one", Fate::Void), outside.executed("one")), (1, 1));
    });
}

#[test]
fn jobs_at_an_end_are_forgotten_after_their_time_and_their_ids_never() {
    run(async |site| {
        let rows = "insert into jobs (kind, id, key, intent, state, next_at, scheduled_at, ended_at, code, reason)
            select 'calls_0', state || age, 'k', '[1]', state, next_at, now(), now() - make_interval(days => age), code, code
            from (values ('done', 10, null::timestamptz, null), ('done', 1, null, null), ('dead', 10, null, 'c'),
                         ('dead', 40, null, 'c'), ('dead', 41, now(), 'c')) as r (state, age, next_at, code)";
        sqlx::query(rows).execute(&site.pool).await.unwrap();
        let days = |count: u64| Duration::from_secs(count * 86_400);
        let kept_for = KeptFor { done: days(7), dead: days(30) };
        assert_eq!(jobs::purge(&site.pool, kept_for, 1).await.unwrap(), 1);
        assert_eq!(jobs::purge(&site.pool, kept_for, 100).await.unwrap(), 1);
        assert_eq!(jobs::purge(&site.pool, kept_for, 100).await.unwrap(), 0);
        let left = site.texts("select id from jobs where intent::text <> '{}' order by id").await;
        assert_eq!(left, ["dead10", "dead41", "done1"], "a letter that is not published keeps its job");
        for (id, state) in [("done10", JobState::Done), ("dead40", JobState::Dead)] {
            let again = schedule::<0>(&site.pool, &intent(id, "a")).await;
            assert_eq!(again, Scheduled::Known { state, is_same_intent: true }, "an id is carried out once");
        }
    });
}
