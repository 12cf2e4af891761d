//! The same by processes of their own, which share nothing but the servers, and are killed with SIGKILL.
//!
//! A process is this test binary once more, told by its environment to carry out jobs.

use crate::limits::{hold, patient, schedule_all, temper};
use crate::outside::{Outside, Temper};
use crate::world::{Calls, Desk, PACE, intent, limits, make_effects, schedule};
use bus::{Broker, Health, Namespace, Publisher};
use jobs::{JobLimits, JobServers, Kinds};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use secrecy::ExposeSecret;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use testkit::{Site, run_within, within};
use tokio_util::sync::CancellationToken;

const NAME: &str = "processes::carries_out_jobs_where_it_is_told_to";

/// Ends with SIGKILL when it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn start(site: &Site, outside: &Outside, is_patient: bool) -> Process {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--ignored", "--nocapture"])
        .env("JOBS_DATABASE_URL", site.database_url.expose_secret())
        .env("JOBS_AMQP_URL", site.amqp_url.expose_secret())
        .env("JOBS_NAMESPACE", site.namespace.as_str())
        .env("JOBS_OUTSIDE", outside.address.to_string())
        .env("JOBS_PATIENT", is_patient.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Process(child.unwrap())
}

#[test]
#[ignore = "started by the tests beside it"]
fn carries_out_jobs_where_it_is_told_to() {
    let told = |name: &str| std::env::var(name).ok();
    let Some(outside) = told("JOBS_OUTSIDE") else { return };
    let limits: JobLimits = if told("JOBS_PATIENT").unwrap() == "true" { patient() } else { limits() };
    testkit::run_without_site(async || {
        let namespace = Namespace::new(&told("JOBS_NAMESPACE").unwrap()).unwrap();
        let pool = db::pool(&told("JOBS_DATABASE_URL").unwrap().into(), 4, namespace.as_str()).unwrap();
        let broker = Broker::new(told("JOBS_AMQP_URL").unwrap().into(), namespace.as_str());
        let publisher = Publisher::spawn(broker, Duration::from_secs(5));
        let kinds =
            Kinds::<Desk>::default().with(Calls::<0>::to(outside.parse().unwrap(), limits, None)).unwrap();
        let servers = JobServers { namespace, pool, publisher, health: Health::default() };
        jobs::run(kinds, servers, PACE, CancellationToken::new()).await;
    });
}

async fn until_done(site: &Site) {
    let left = "select count(*) from jobs where ended_at is null";
    within(Duration::from_secs(100), "all jobs at an end", async || {
        (site.number(left).await == 0).then_some(())
    })
    .await;
}

#[test]
fn limits_hold_over_four_processes() {
    run_within(Duration::from_secs(120), async |site| {
        make_effects(&site).await;
        let outside = Outside::open(temper(20)).await;
        schedule_all(&site, 20).await;
        let processes: Vec<Process> = (0..4).map(|_| start(&site, &outside, true)).collect();
        until_done(&site).await;
        drop(processes);
        println!("{}", hold(&outside, 20));
    });
}

#[test]
fn processes_that_are_killed_with_sigkill_call_nothing_twice() {
    run_within(Duration::from_secs(150), async |site| {
        make_effects(&site).await;
        let seed = std::env::var("BURSAR_TEST_SEED")
            .map_or_else(|_| rand::rng().random(), |text| text.parse().unwrap());
        println!("BURSAR_TEST_SEED={seed}");
        let mut rng = SmallRng::seed_from_u64(seed);
        let outside = Outside::open(Temper::Moody(seed)).await;
        for number in 0..40 {
            schedule::<0>(&site.pool, &intent(&format!("call-{number}"), &format!("key_{}", number % 5)))
                .await;
        }
        let mut processes = [start(&site, &outside, false), start(&site, &outside, false)];
        for _ in 0..12 {
            tokio::time::sleep(Duration::from_millis(rng.random_range(100..500))).await;
            processes[rng.random_range(0..2)] = start(&site, &outside, false);
        }
        until_done(&site).await;
        drop(processes);
        assert_eq!(outside.wrongs(), Vec::<String>::new());
        let done = site.number("select count(*) from jobs where state = 'done'").await;
        assert_eq!(site.number("select count(*) from effects").await, done);
        println!("{} calls for {done} jobs done of 40", outside.calls());
    });
}
