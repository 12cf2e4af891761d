//! A kind of jobs that calls the outside, and processes that carry it out until they are killed.

use crate::outside::Outside;
use bus::{Fate, Fated, Health};
use db::{Doing, Work};
use domain::money::currency;
use domain::{AccountId, Money, PaymentId};
use jobs::http::{CallerSettings, Endpoint, HttpAnswer, HttpCaller};
use jobs::{
    Asked, CallAttempt, Called, Delay, Job, JobLimits, JobServers, JobSubject, JobVerdict, Kinds, Owner,
    RunnerPace, Scheduled, SettledAnswer,
};
use processors::api::{Method, Request};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;
use testkit::{Relay, Site};
use time::OffsetDateTime;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The fleet knows no other worker yet whose letters are those of a worker.
pub struct Desk;

impl Owner for Desk {
    const WORKER: &'static str = "ledger";
    const QUEUE: &'static str = "ledger.jobs";
    const CODES: &'static [&'static str] = &["gone_for_good"];
}

/// As many kinds as seeded runs go side by side.
const KINDS: [&str; 8] =
    ["calls_0", "calls_1", "calls_2", "calls_3", "calls_4", "calls_5", "calls_6", "calls_7"];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    pub id: String,
    pub key: String,
}

/// The last thing that a process does before it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It took the job, and sent nothing.
    Taken,
    /// The server has the call; nobody has the answer.
    Sent,
    /// It has the answer.
    Answered,
    /// It wrote the end, and did not commit.
    Settling,
    /// It is about to commit, or has done so.
    Committing,
    /// It is about to ask.
    Asking,
    /// Wherever it happens to be.
    Anywhere,
}

impl Step {
    pub const ALL: [Step; 7] = [
        Step::Taken,
        Step::Sent,
        Step::Answered,
        Step::Settling,
        Step::Committing,
        Step::Asking,
        Step::Anywhere,
    ];
}

/// When a process is to die; it tells once it has come there.
pub struct Death {
    pub at: Step,
    /// Of those steps how many it survives.
    pub after: Mutex<u32>,
    pub come: mpsc::UnboundedSender<()>,
}

impl Death {
    /// Comes to a step: where it is the last one, nothing more happens after it.
    async fn comes(&self, step: Step) {
        if self.is_here(step) {
            std::future::pending::<()>().await;
        }
    }

    fn is_here(&self, step: Step) -> bool {
        let mut after = self.after.lock().unwrap();
        if step != self.at
            || (*after > 0 && {
                *after -= 1;
                true
            })
        {
            return false;
        }
        self.come.send(()).is_ok()
    }
}

/// Calls the outside; what came of it is a row of `effects`.
pub struct Calls<const LANE: usize> {
    pub caller: HttpCaller,
    pub endpoint: Endpoint,
    pub limits: JobLimits,
    pub death: Option<Death>,
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Failed(#[from] db::Error);

impl Fated for Failed {
    fn fate(&self) -> Fate {
        self.0.fate()
    }
}

impl<const LANE: usize> Calls<LANE> {
    pub fn to(outside: SocketAddr, limits: JobLimits, death: Option<Death>) -> Self {
        // One for all: it reads this machine's certificates.
        static CALLER: LazyLock<HttpCaller> = LazyLock::new(|| {
            let whole = Duration::from_secs(30);
            HttpCaller::new(CallerSettings { whole, ..CallerSettings::default() }).unwrap()
        });
        let endpoint = Endpoint { base: format!("http://{outside}").parse().unwrap(), authorization: None };
        Self { caller: CALLER.clone(), endpoint, limits, death }
    }

    async fn comes(&self, step: Step) {
        if let Some(death) = &self.death {
            death.comes(step).await;
        }
    }

    async fn send(&self, method: Method, attempt: &CallAttempt<Intent>) -> Called<HttpAnswer> {
        let Intent { key, id } = &attempt.intent;
        let request = Request {
            method,
            path: format!("/calls/{key}/{id}/{}", attempt.number),
            headers: Vec::new(),
            body: Vec::new(),
            idempotency_key: Some(("idempotency-key", attempt.idempotency_key())),
        };
        self.caller.send(&self.endpoint, &request).await
    }
}

impl<const LANE: usize> Job for Calls<LANE> {
    const KIND: &'static str = KINDS[LANE];

    type Intent = Intent;
    type Answer = HttpAnswer;
    type Error = Failed;

    fn key(intent: &Intent) -> String {
        intent.key.clone()
    }

    /// Of the account that is called as its key.
    fn about(intent: &Intent) -> JobSubject {
        JobSubject {
            account: AccountId::new(intent.key.as_str()).ok(),
            payment: PaymentId::new("stripe", &intent.id).ok(),
            money: Money::from_minor(1250, 2, currency("USD").unwrap()).ok(),
        }
    }

    fn describe(intent: &Intent) -> String {
        format!("POST /calls for {}", intent.id)
    }

    fn limits(&self) -> JobLimits {
        self.limits
    }

    async fn call(&self, attempt: &CallAttempt<Intent>) -> Called<HttpAnswer> {
        self.comes(Step::Taken).await;
        let called = self.send(Method::Post, attempt).await;
        self.comes(Step::Answered).await;
        called
    }

    async fn ask(&self, attempt: &CallAttempt<Intent>) -> Asked<HttpAnswer> {
        self.comes(Step::Asking).await;
        match self.send(Method::Get, attempt).await {
            Called::Answered(answer) => match answer.status {
                200 | 422 => Asked::Answered(answer),
                404 => Asked::Absent("it never came".to_owned()),
                status => Asked::Unknown(format!("status {status}")),
            },
            Called::NotSent(why) | Called::Impossible(why) | Called::Unknown(why) => Asked::Unknown(why),
        }
    }

    async fn settle(
        &self,
        work: &mut Work,
        attempt: &CallAttempt<Intent>,
        answer: &HttpAnswer,
    ) -> Result<SettledAnswer, Failed> {
        let verdict = match answer.status {
            200 => {
                sqlx::query("insert into effects (id, attempt) values ($1, $2)")
                    .bind(&attempt.id)
                    .bind(attempt.number as i32)
                    .execute(work.connection().await?)
                    .await
                    .doing("writing an effect")?;
                JobVerdict::Done
            }
            422 => JobVerdict::Again(Delay::Backoff, "it was refused".to_owned()),
            410 => JobVerdict::GaveUp("gone_for_good", "it says that it is gone".to_owned()),
            status => JobVerdict::Unknown(Delay::Backoff, format!("status {status}")),
        };
        self.comes(Step::Settling).await;
        if let Some(death) = &self.death {
            death.is_here(Step::Committing);
        }
        Ok(verdict.into())
    }
}

/// Fast ones: a run is over in a moment.
pub fn limits() -> JobLimits {
    let millis = Duration::from_millis;
    JobLimits {
        of_kind: 8,
        of_key: 2,
        call: millis(150),
        lease: millis(500),
        calls_max: 8,
        asks_max: 30,
        again: (millis(5), millis(20)),
        ask: (millis(10), millis(40)),
    }
}

pub const PACE: RunnerPace =
    RunnerPace { calls_max: 8, look: Duration::from_millis(20), drain: Duration::from_secs(10) };

/// Every kind, for who has no call to make.
pub fn all_kinds(limits: JobLimits) -> Kinds<Desk> {
    let nowhere: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let kinds = Kinds::default().with(Calls::<0>::to(nowhere, limits, None)).unwrap();
    let kinds = kinds.with(Calls::<1>::to(nowhere, limits, None)).unwrap();
    let kinds = kinds.with(Calls::<2>::to(nowhere, limits, None)).unwrap();
    let kinds = kinds.with(Calls::<3>::to(nowhere, limits, None)).unwrap();
    let kinds = kinds.with(Calls::<4>::to(nowhere, limits, None)).unwrap();
    let kinds = kinds.with(Calls::<5>::to(nowhere, limits, None)).unwrap();
    let kinds = kinds.with(Calls::<6>::to(nowhere, limits, None)).unwrap();
    kinds.with(Calls::<7>::to(nowhere, limits, None)).unwrap()
}

pub async fn make_effects(site: &Site) {
    let table = "create table effects (id text primary key, attempt int not null, at timestamptz not null default clock_timestamp())";
    sqlx::query(table).execute(&site.owner).await.unwrap();
}

pub fn intent(id: &str, key: &str) -> Intent {
    Intent { id: id.to_owned(), key: key.to_owned() }
}

pub async fn schedule<const LANE: usize>(pool: &db::Pool, intent: &Intent) -> Scheduled {
    let mut work = Work::new(pool.clone(), OffsetDateTime::now_utc());
    let scheduled = jobs::schedule::<Calls<LANE>>(&mut work, &intent.id, intent).await.unwrap();
    work.commit().await.unwrap();
    scheduled
}

pub fn servers(site: &Site) -> JobServers {
    JobServers {
        namespace: site.namespace.clone(),
        pool: site.pool.clone(),
        publisher: site.publisher.clone(),
        health: Health::default(),
    }
}

/// Runs jobs in the background of the site until the token that it returns is cancelled.
pub fn start<const LANE: usize>(
    site: &Site,
    calls: Calls<LANE>,
) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let stop = site.over.child_token();
    let kinds = Kinds::<Desk>::default().with(calls).unwrap();
    (stop.clone(), tokio::spawn(jobs::run(kinds, servers(site), PACE, stop)))
}

/// A process that can be killed: tasks, connections, transactions end between any two steps.
pub struct Mortal {
    runtime: Option<Runtime>,
    line: Relay,
}

impl Mortal {
    pub fn start<const LANE: usize>(
        site: &Site,
        outside: &Outside,
        limits: JobLimits,
        death: Option<Death>,
    ) -> Self {
        let database_url = site.database_url.expose_secret();
        let line = Relay::to(database_url, 5432);
        let database_url = SecretString::from(line.url(database_url));
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let (site, outside) = (site.clone(), outside.address);
        runtime.spawn(async move {
            let pool = db::pool(&database_url, 3, site.namespace.as_str()).unwrap();
            let servers = JobServers { pool, ..servers(&site) };
            let kinds = Kinds::<Desk>::default().with(Calls::<LANE>::to(outside, limits, death)).unwrap();
            // It is never asked to stop.
            jobs::run(kinds, servers, PACE, CancellationToken::new()).await;
        });
        Self { runtime: Some(runtime), line }
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.line.close();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
