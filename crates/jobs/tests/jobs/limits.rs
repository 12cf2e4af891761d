//! Limits of a kind and of each key hold over all processes, and a slow key holds up no other.

use crate::outside::{Outside, Temper};
use crate::world::{Mortal, intent, limits, make_effects, schedule};
use jobs::JobLimits;
use std::time::Duration;
use testkit::{Site, run_within, within};

/// Nothing is late, whatever else this machine does.
pub fn patient() -> JobLimits {
    let limit = Duration::from_secs(20);
    JobLimits { of_kind: 6, of_key: 2, call: limit, lease: 3 * limit, ..limits() }
}

pub const KEYS: [&str; 4] = ["fast_1", "fast_2", "fast_3", "slow"];

/// Those of the slow key are answered once all others are: were these held up by them, nothing would go on.
pub fn temper(of_each: usize) -> Temper {
    Temper::Holding((KEYS.len() - 1) * of_each)
}

/// The slow ones are due first.
pub async fn schedule_all(site: &Site, of_each: usize) {
    for key in KEYS.into_iter().rev() {
        for number in 0..of_each {
            schedule::<0>(&site.pool, &intent(&format!("{key}-{number}"), key)).await;
        }
    }
}

/// What must hold once all are done: `of_each` calls of each key, never too many at once.
pub fn hold(outside: &Outside, of_each: usize) -> String {
    assert_eq!(outside.wrongs(), Vec::<String>::new());
    assert_eq!(outside.calls(), KEYS.len() * of_each);
    let (of_key, of_all) = outside.most();
    for key in KEYS {
        let most = of_key[key];
        assert!(most <= patient().of_key, "{most} calls for {key} at once");
    }
    assert!(of_all <= patient().of_kind, "{of_all} calls at once");
    assert!(of_key["slow"] == patient().of_key && of_all > 2, "they were used: {of_key:?} {of_all}");
    format!("at once: {of_key:?}, {of_all} of all")
}

#[test]
fn limits_hold_over_four_runners_and_a_slow_key_holds_up_no_other() {
    run_within(Duration::from_secs(120), async |site| {
        make_effects(&site).await;
        let outside = Outside::open(temper(30)).await;
        schedule_all(&site, 30).await;
        let runners: Vec<Mortal> =
            (0..4).map(|_| Mortal::start::<0>(&site, &outside, patient(), None)).collect();
        let left = "select count(*) from jobs where state <> 'done'";
        within(Duration::from_secs(90), "all jobs done", async || {
            (site.number(left).await == 0).then_some(())
        })
        .await;
        drop(runners);
        println!("{}", hold(&outside, 30));
    });
}

#[test]
fn taking_is_quick_behind_a_long_line_of_one_key_that_is_full() {
    run_within(Duration::from_secs(120), async |site| {
        make_effects(&site).await;
        let line = "insert into jobs (kind, id, key, intent, state, next_at, scheduled_at)
                    select 'calls_0', 'line-' || n, 'full', '{\"id\":\"x\",\"key\":\"full\"}', 'due', now() - interval '1 hour', now()
                    from generate_series(1, 20000) n";
        sqlx::query(line).execute(&site.pool).await.unwrap();
        sqlx::query("analyze jobs").execute(&site.owner).await.unwrap();
        let hang = Outside::open(Temper::Steady(|key| {
            Duration::from_millis(if key == "full" { 15_000 } else { 1 })
        }))
        .await;
        let _runner = Mortal::start::<0>(&site, &hang, patient(), None);
        site.until("select count(*) from jobs where state = 'calling'", 2).await;
        let began = std::time::Instant::now();
        for number in 0..50 {
            schedule::<0>(&site.pool, &intent(&format!("other-{number}"), "free")).await;
        }
        site.until("select count(*) from effects where id like 'other-%'", 50).await;
        println!("50 jobs past 20,000 of a full key in {:?}", began.elapsed());
    });
}

/// A line so long that a look reads only its front: what is behind it is found key by key, as the limits allow.
#[test]
fn what_is_due_behind_a_long_line_of_full_keys_is_taken_within_the_limits() {
    run_within(Duration::from_secs(120), async |site| {
        make_effects(&site).await;
        let line = "insert into jobs (kind, id, key, intent, state, next_at, scheduled_at)
                    select 'calls_0', key || '-' || n, key, json_build_object('id', key || '-' || n, 'key', key), 'due',
                           now() - since * interval '1 hour', now()
                    from (values ('full_1', 3000, 3), ('full_2', 3000, 3), ('behind_1', 7, 2), ('behind_2', 7, 1),
                                 ('later', 2000, -1)) as k (key, count, since), generate_series(1, count) n";
        sqlx::query(line).execute(&site.pool).await.unwrap();
        sqlx::query("analyze jobs").execute(&site.owner).await.unwrap();
        let hang = Outside::open(Temper::Steady(|key| {
            Duration::from_millis(if key.starts_with("full") { 15_000 } else { 1 })
        }))
        .await;
        let limits = JobLimits { of_kind: 6, of_key: 2, ..patient() };
        let runners = [(); 2].map(|()| Mortal::start::<0>(&site, &hang, limits, None));
        site.until("select count(*) from effects where id like 'behind%'", 14).await;
        assert_eq!(
            site.number("select count(*) from jobs where key like 'full%' and state = 'calling'").await,
            4
        );
        assert_eq!(site.number("select count(*) from jobs where key = 'later' and attempt > 0").await, 0);
        drop(runners);
        assert_eq!(hang.wrongs(), Vec::<String>::new());
        let (of_key, of_all) = hang.most();
        assert!(of_all <= 6 && of_key.values().all(|most| *most <= 2), "{of_key:?} {of_all}");
    });
}
