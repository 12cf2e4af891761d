//! Random runs: jobs at a moody server, carried out by processes that die at every step. Each run prints its seed where it fails;
//! `BURSAR_TEST_SEED` repeats one, `BURSAR_TEST_RUNS` says how many there are.

use crate::outside::{Outside, Temper};
use crate::world::{self, Calls, Death, Intent, Mortal, Step, intent, limits, make_effects, schedule};
use db::Work;
use futures_util::FutureExt;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::{Site, run_within};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Each step several times.
const RUNS: u64 = 100;

/// A job that is not at an end by then waits for ever.
const PATIENCE: Duration = Duration::from_secs(40);

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[derive(Default)]
struct Counts {
    runs: AtomicU64,
    deaths: AtomicU64,
    calls: AtomicU64,
    done: AtomicU64,
    dead: AtomicU64,
}

/// Adds up over lanes.
fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

#[test]
fn no_intent_is_called_again_that_is_not_known_to_have_failed_and_none_waits_for_ever() {
    run_within(Duration::from_secs(1800), async |site| {
        make_effects(&site).await;
        let first = from_environment("BURSAR_TEST_SEED").unwrap_or_else(|| rand::rng().random());
        let count = match std::env::var_os("BURSAR_TEST_SEED") {
            Some(_) => 1,
            None => from_environment("BURSAR_TEST_RUNS").unwrap_or(RUNS),
        };
        let seeds: Arc<Mutex<Vec<u64>>> =
            Arc::new(Mutex::new((0..count).map(|n| first.wrapping_add(n)).collect()));
        let counts = Arc::new(Counts::default());
        let began = Instant::now();
        tokio::join!(
            lane::<0>(&site, &seeds, &counts),
            lane::<1>(&site, &seeds, &counts),
            lane::<2>(&site, &seeds, &counts),
            lane::<3>(&site, &seeds, &counts),
            lane::<4>(&site, &seeds, &counts),
            lane::<5>(&site, &seeds, &counts),
            lane::<6>(&site, &seeds, &counts),
            lane::<7>(&site, &seeds, &counts),
        );
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        println!(
            "seeds from {first}: {} runs with {} deaths, {} calls for {} jobs done and {} given up, in {:.1} s",
            number(&counts.runs),
            number(&counts.deaths),
            number(&counts.calls),
            number(&counts.done),
            number(&counts.dead),
            began.elapsed().as_secs_f64(),
        );
        every_job_that_was_given_up_is_a_letter(&site).await;
    });
}

/// Published by whoever is left, read by the worker that keeps letters.
async fn every_job_that_was_given_up_is_a_letter(site: &Site) {
    let kinds = world::all_kinds(limits());
    let stop = site.over.child_token();
    tokio::spawn(jobs::run(kinds, world::servers(site), world::PACE, stop));
    let keeper = site
        .start(dead_letters::DeadLetters::new(processors::Settings::default(), &bursar::workers::NAMES), 1);
    let expect = site.number("select count(*) from jobs where state = 'dead'").await;
    site.until("select count(*) from jobs where state = 'dead' and next_at is null", expect).await;
    site.until("select count(*) from dead_letters where queue = 'ledger.jobs'", expect).await;
    let strangers = "select count(*) from dead_letters l
                     where not exists (select from jobs where state = 'dead' and message_id = kind || '/' || id)";
    assert_eq!(site.number(strangers).await, 0);
    keeper.stop().await;
}

async fn lane<const LANE: usize>(site: &Site, seeds: &Mutex<Vec<u64>>, counts: &Counts) {
    loop {
        let next = seeds.lock().unwrap().pop();
        let Some(seed) = next else { return };
        let outcome = AssertUnwindSafe(one::<LANE>(site, seed, counts)).catch_unwind().await;
        if let Err(panic) = outcome {
            panic!("BURSAR_TEST_SEED={seed}: {}", bus::panic_text(&*panic));
        }
        counts.runs.fetch_add(1, Ordering::Relaxed);
    }
}

async fn one<const LANE: usize>(site: &Site, seed: u64, counts: &Counts) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let outside = Outside::open(Temper::Moody(seed)).await;
    let mut intents = Vec::new();
    for number in 0..rng.random_range(1..=3) {
        // Few are never taken, so that letters are written, too.
        let verb = if rng.random_ratio(1, 20) { "never" } else { "call" };
        let intent = intent(&format!("{verb}-{seed}-{number}"), if rng.random() { "a" } else { "b" });
        commits_its_intent::<LANE>(site, &intent, &mut rng).await;
        intents.push(intent);
    }
    for _ in 0..rng.random_range(0..=3) {
        dies::<LANE>(site, &outside, &mut rng).await;
        add(&counts.deaths, 1);
    }
    let survivor = Mortal::start::<LANE>(site, &outside, limits(), None);
    until_over(site, &intents, seed).await;
    drop(survivor);
    holds(site, &outside, &intents, counts).await;
    add(&counts.calls, outside.calls());
}

/// The first step: who schedules dies before its commit, or never learns whether that held, and does it again.
async fn commits_its_intent<const LANE: usize>(site: &Site, intent: &Intent, rng: &mut SmallRng) {
    for _ in 0..rng.random_range(0..=1) {
        let mut work = Work::new(site.pool.clone(), OffsetDateTime::now_utc());
        jobs::schedule::<Calls<LANE>>(&mut work, &intent.id, intent).await.unwrap();
        match rng.random() {
            true => work.abandon().await,
            false => drop(work.commit().now_or_never()),
        }
    }
    schedule::<LANE>(&site.pool, intent).await;
}

/// A process that is killed at a step, or wherever it is after a while.
async fn dies<const LANE: usize>(site: &Site, outside: &Outside, rng: &mut SmallRng) {
    let at = Step::ALL[rng.random_range(0..Step::ALL.len())];
    let (come, mut came) = mpsc::unbounded_channel();
    let death = Death { at, after: Mutex::new(rng.random_range(0..=2)), come };
    let patience = Duration::from_millis(rng.random_range(20..400));
    let sent = outside.came();
    let mortal = Mortal::start::<LANE>(site, outside, limits(), Some(death));
    match at {
        Step::Sent => drop(tokio::time::timeout(patience, sent).await),
        Step::Anywhere => tokio::time::sleep(patience).await,
        Step::Taken | Step::Answered | Step::Settling | Step::Committing | Step::Asking => {
            drop(tokio::time::timeout(patience, came.recv()).await);
        }
    }
    if at == Step::Committing {
        tokio::time::sleep(Duration::from_micros(rng.random_range(0..3_000))).await;
    }
    drop(mortal);
}

async fn until_over(site: &Site, intents: &[Intent], seed: u64) {
    let ids: Vec<&str> = intents.iter().map(|intent| intent.id.as_str()).collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left: Vec<(String, String)> = sqlx::query_as(
            "select id, state || ' ' || attempt || ' ' || failures from jobs where id = any ($1) and ended_at is null",
        )
        .bind(&ids)
        .fetch_all(&site.pool)
        .await
        .unwrap();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "seed {seed}: they wait for ever: {left:?}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// What the server knows, what the jobs say and what was written of them are one.
async fn holds(site: &Site, outside: &Outside, intents: &[Intent], counts: &Counts) {
    let wrongs = outside.wrongs();
    assert!(wrongs.is_empty(), "{wrongs:#?}");
    for Intent { id, .. } in intents {
        let (state, is_unknown, effects): (String, bool, i64) = sqlx::query_as(
            "select state, is_unknown, (select count(*) from effects e where e.id = j.id) from jobs j where id = $1",
        )
        .bind(id)
        .fetch_one(&site.pool)
        .await
        .unwrap();
        let executed = outside.executed(id);
        match state.as_str() {
            "done" => {
                assert_eq!((executed, effects), (1, 1), "{id}");
                add(&counts.done, 1);
            }
            "dead" => {
                assert!(effects == 0 && (is_unknown || executed == 0), "{id}: {executed} executed");
                add(&counts.dead, 1);
            }
            state => panic!("{id} is {state}"),
        }
    }
}
