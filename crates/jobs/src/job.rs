//! Durable calls to the outside: a refund at a processor, a mail, a webhook.
//!
//! A job is an intent that a transaction has committed ([`schedule`]) and that becomes a call in four steps, any of which
//! a crash may be the last of:
//!
//! 1. the worker that wants the call commits the intent, with whatever else its transaction writes;
//! 2. the call is made, with no transaction open ([`Job::call`]);
//! 3. its end is committed, with what the worker writes about it ([`Job::settle`]);
//! 4. with it the next attempt is scheduled, if there is one.
//!
//! ```text
//!              scheduled, replayed
//!                     │
//!                     ▼     taken: a lease begins
//!         ┌────────► due ─────────────────────► calling ───────────────┬──► done
//!         │           ▲                            │                   │
//!         │           └──── known to have failed ──┤                   ├──► dead ──► its letter is published
//!         │                                        │ no whole answer;  │     │
//!         │                                        │ the lease ended   │     │ replayed: to due, or to unknown
//!         │  asked: known to have failed           ▼                   │     ▼   where that is how it died
//!         └──────────── asking ◄──────────────► unknown                │
//!                          │   taken; cannot tell                      │
//!                          └───────────────────────────────────────────┘
//! ```
//!
//! Promises:
//! - An intent is called a second time only where the first call is *known to have failed*: nothing left the machine
//!   ([`Called::NotSent`]), the outside said so ([`JobVerdict::Again`]), or it was asked and said so ([`Asked::Absent`]).
//!   What a crash, a time limit or a broken answer leaves is *unknown*: it is asked about ([`Job::ask`]), never called again
//!   by itself, and in the end given up to people.
//! - An id is carried out once. Of a job that was purged the id and the state stay for good, as a small row: whoever schedules
//!   the id again is told that it is known.
//! - Every row that is not at an end has a time at which it goes on; a CHECK holds it. Attempts and questions have a limit.
//!   A question counts when it is taken: one that ends its process, or whose answer can never be settled, counts too.
//! - Any number of processes take rows (`for update skip locked`). Who takes one holds it for a lease that is longer than
//!   a call may take, under a token of its own: an end is written by the holder alone. A process that stood still so long
//!   that another took over writes nothing.
//! - Calls and questions under way, of a kind and of each key, are counted in Postgres while taking, under one lock for
//!   each kind: limits hold over all processes. Rows whose key is full are looked past: a slow key holds up no other, and
//!   a long line of it costs nothing (`store/take.sql`).
//! - What a job is to call it forgets once it was at its end for long ([`purge`]), or sooner where its account is erased
//!   ([`forget`]), never before it is at its end.
//! - What is given up is a dead letter like any other, and the row is its outbox: it is marked once the letter is confirmed. A
//!   letter that is published twice is recorded once. A replay goes to the owner's queue, where [`PutBack`] reads it.
//!
//! What it cannot promise: a request may arrive after its caller has given it up (it lay in a buffer, the process stood still
//! just before it wrote). A handler that answers [`Asked::Absent`] gives it time first ([`CallAttempt::age`]), and every
//! call carries the [`CallAttempt::idempotency_key`], the same however often one attempt is sent.
//!
//! Why not a crate (read up on in 2026-11, none tried): of those on sqlx 0.9, `apalis-postgres` 1.0.0 puts the tasks of a
//! worker without heartbeat back into the queue; `graphile_worker` 0.14.1 (MIT) leaves them locked or, with its recovery on,
//! puts them back, unless a hook decides otherwise, and limits by named queues that run one job at a time; `steda` 0.1.3 (MIT
//! or Apache-2.0) retries attempts and needs PostgreSQL 18; `pgmq` shows a message again after a time. A crashed attempt is an
//! attempt that failed there. `underway` 0.2.0, `fang` 0.11.0, `sqlxmq` 0.6.0 and `pgqrs` 0.15.3 are on sqlx 0.8.

mod attempt;
mod erasure;
mod kind;
mod letter;
mod put_back;
mod runner;
mod servers;
mod store;

pub use erasure::{ErasedJobs, JobErasure, forget};
pub use kind::Kinds;
pub use put_back::{Foreseen, PutBack, Returning};
pub use runner::{RunnerPace, run};
pub use servers::JobServers;
pub use store::{JobState, KeptFor, Scheduled, Status, declare_failed, measure, purge, status};

use bus::{EmittedEvents, Fated};
use db::{Error, Work};
use domain::{AccountId, Money, PaymentId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::time::Duration;
use store::NewRow;
use time::OffsetDateTime;
use tokio::time::Instant;

/// The worker whose jobs they are.
pub trait Owner: Send + Sync + 'static {
    /// As dead letters name it.
    const WORKER: &'static str;
    /// Where replayed letters of jobs come: `<worker>.jobs`, without the namespace. It is bound to nothing.
    const QUEUE: &'static str;
    /// The codes that its handlers give up with, beside [`code::ALL`]: those of the worker.
    const CODES: &'static [&'static str];
}

/// What a job is about, as far as it is about an account and money. Dead letters are found by it (`dlq list --account`), and say
/// what is at stake.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobSubject {
    pub account: Option<AccountId>,
    pub payment: Option<PaymentId>,
    /// What the call moves.
    pub money: Option<Money>,
}

/// A kind of jobs, and how one is carried out.
///
/// `call` and `ask` speak to the outside; they open no transaction and write nothing. `settle` and `gave_up` write, in the
/// transaction that commits the end; they may run several times for one answer, each time from nothing.
pub trait Job: Send + Sync + 'static {
    /// `a-z 0-9 _`, at most 60: stands in rows, metrics and dead letters.
    const KIND: &'static str;

    type Intent: Serialize + DeserializeOwned + Send + Sync;
    /// What the outside answered, read.
    type Answer: Send + Sync;
    type Error: Fated;

    /// What calls are limited by: an endpoint, a transaction. 1 to 255 bytes.
    fn key(intent: &Self::Intent) -> String;

    /// What its letter says that it is about, should it be given up; and whose it is, should an account be erased.
    fn about(intent: &Self::Intent) -> JobSubject;

    /// What is called, for a plan: `POST /v1/refunds for re_1`. No secrets, no names.
    fn describe(intent: &Self::Intent) -> String {
        format!("{} for {}", Self::KIND, Self::key(intent))
    }

    fn limits(&self) -> JobLimits {
        JobLimits::default()
    }

    /// Makes the call. A panic, and a call that takes longer than [`JobLimits::call`], has an unknown end.
    fn call(&self, attempt: &CallAttempt<Self::Intent>) -> impl Future<Output = Called<Self::Answer>> + Send;

    /// Asks the outside what became of the attempt's call, whose end is unknown. A handler that cannot ask keeps this default:
    /// in the end people are asked.
    fn ask(&self, _attempt: &CallAttempt<Self::Intent>) -> impl Future<Output = Asked<Self::Answer>> + Send {
        async { Asked::Unknown("there is no way to ask".to_owned()) }
    }

    /// What an answer means, and what the worker writes about it. The row of the job is locked already, before whatever this
    /// locks.
    fn settle(
        &self,
        work: &mut Work,
        attempt: &CallAttempt<Self::Intent>,
        answer: &Self::Answer,
    ) -> impl Future<Output = Result<SettledAnswer, Self::Error>> + Send;

    /// The job was given up, by the handler or by its limits: what the worker writes about that.
    fn gave_up(
        &self,
        _work: &mut Work,
        _attempt: &CallAttempt<Self::Intent>,
        _code: &str,
        _why: &str,
    ) -> impl Future<Output = Result<Option<EmittedEvents>, Self::Error>> + Send {
        async { Ok(None) }
    }
}

/// One call that is made, or asked about.
#[derive(Debug, Clone)]
pub struct CallAttempt<I> {
    pub kind: &'static str,
    pub id: String,
    pub intent: I,
    /// From 1. It rises only after a call that is known to have failed.
    pub number: u32,
    /// How often its end was asked about before.
    pub asked: u32,
    /// When the call was begun, by the clock of Postgres. How long ago that is, [`CallAttempt::age`] tells: this process's
    /// clock may show another time.
    pub called_at: OffsetDateTime,
    age_when_taken: Duration,
    taken_at: Instant,
}

impl<I> CallAttempt<I> {
    /// How long ago the call was begun, at least: by the clock of Postgres until the row was taken, by this process's since. Who
    /// answers [`Asked::Absent`] because the outside knows nothing of the call waits until this is longer than a request can
    /// be under way.
    pub fn age(&self) -> Duration {
        self.age_when_taken + self.taken_at.elapsed()
    }

    /// The same whenever this attempt is sent or asked about, another for the next.
    pub fn idempotency_key(&self) -> String {
        format!("{}/{}/{}", self.kind, self.id, self.number)
    }
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Called<A> {
    /// The whole answer is there.
    Answered(A),
    /// Nothing left the machine, for sure: it is called again later.
    NotSent(String),
    /// Nothing left the machine, and nothing ever will: no request can be made of it. It is given up at once.
    Impossible(String),
    /// It was sent, wholly or in part, and no whole answer came.
    Unknown(String),
}

/// What the outside says of a call whose end was unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked<A> {
    /// This is what became of it.
    Answered(A),
    /// It is known that nothing came of it and nothing will: it is called again.
    Absent(String),
    /// The outside cannot say yet. It is asked again.
    Unknown(String),
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobVerdict {
    Done,
    /// It is known that nothing came of the call: another is made.
    Again(Delay, String),
    /// What came of the call is not known: it is asked about.
    Unknown(Delay, String),
    /// Nothing comes of it, whatever is tried: a dead letter with this machine-readable code.
    GaveUp(&'static str, String),
}

/// When to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delay {
    /// As the kind's limits say, later each time.
    Backoff,
    After(Duration),
}

/// What [`Job::settle`] made of an answer.
#[derive(Debug)]
pub struct SettledAnswer {
    pub verdict: JobVerdict,
    /// Events that the transaction stored: published once it is committed.
    pub emitted: Option<EmittedEvents>,
}

impl From<JobVerdict> for SettledAnswer {
    fn from(verdict: JobVerdict) -> Self {
        Self { verdict, emitted: None }
    }
}

/// The codes of dead letters that are given here; a handler's own stand beside its verdicts.
pub mod code {
    /// What became of the last call is not known, and asking did not tell.
    pub const UNKNOWN_END: &str = "unknown_end";
    /// As many calls as the kind allows are known to have failed.
    pub const ATTEMPTS: &str = "attempts_exhausted";
    /// The stored intent is none that this version reads.
    pub const UNREADABLE_INTENT: &str = "unreadable_intent";
    /// No request can be made of the intent: nothing was sent, and another try would be the same.
    pub const IMPOSSIBLE_REQUEST: &str = "impossible_request";

    // Of what comes back to the owner's queue.
    /// The process that reads the queue has no such kind of jobs.
    pub const UNKNOWN_KIND: &str = "unknown_kind";
    /// It names no job that is there.
    pub const NO_SUCH_JOB: &str = "no_such_job";
    /// It carries another intent than the job's: a changed intent is scheduled anew, under another id.
    pub const CHANGED_INTENT: &str = "changed_intent";

    /// Every code that is given here.
    pub const ALL: [&str; 7] = [
        UNKNOWN_END,
        ATTEMPTS,
        UNREADABLE_INTENT,
        IMPOSSIBLE_REQUEST,
        UNKNOWN_KIND,
        NO_SUCH_JOB,
        CHANGED_INTENT,
    ];
}

/// What a kind may do at once and in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobLimits {
    /// Calls and questions under way at once, over all processes.
    pub of_kind: u32,
    /// The same for each key.
    pub of_key: u32,
    /// How long one may take.
    pub call: Duration,
    /// How long one is held. Longer than it takes to call and to commit its end.
    pub lease: Duration,
    /// Calls until it is given up.
    pub calls_max: u32,
    /// Questions about one job's unknown ends until it is given up.
    pub asks_max: u32,
    /// The first and the longest delay before another call; they double in between.
    pub again: (Duration, Duration),
    /// The same before a question.
    pub ask: (Duration, Duration),
}

impl Default for JobLimits {
    /// About a day of calls that fail, and of questions.
    fn default() -> Self {
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        Self {
            of_kind: 16,
            of_key: 1,
            call: 20 * second,
            lease: 90 * second,
            calls_max: 30,
            asks_max: 30,
            again: (5 * second, hour),
            ask: (10 * second, hour),
        }
    }
}

impl JobLimits {
    /// The most of each number: what is counted of a row fits its columns with room to spare.
    const NUMBER_MAX: u32 = 1_000_000;

    const LEASE_MAX: Duration = Duration::from_secs(86_400);

    /// Why they cannot hold.
    fn check(&self) -> Result<(), String> {
        let numbers = [self.of_kind, self.of_key, self.calls_max, self.asks_max];
        let are_numbers = numbers.iter().all(|number| (1..=Self::NUMBER_MAX).contains(number));
        let is_long_enough = self.call.checked_mul(2).is_some_and(|twice| twice <= self.lease);
        match are_numbers && is_long_enough && self.lease <= Self::LEASE_MAX {
            true => Ok(()),
            false => Err(format!(
                "expected numbers from 1 to {} and a lease of at least twice a call's time and at most a day, got {self:?}",
                Self::NUMBER_MAX
            )),
        }
    }
}

/// A job to be scheduled.
#[derive(Debug, Clone, Copy)]
pub struct NewJob<'a, I> {
    /// 1 to 180 bytes. The same for the same call, whoever schedules it.
    pub id: &'a str,
    pub intent: &'a I,
    /// When it is due; nothing is at once.
    pub at: Option<OffsetDateTime>,
}

/// Commits an intent with the caller's transaction; it is due at once. An id that is known, also one of a purged job, is a
/// value, and changes nothing.
///
/// # Errors
/// Those of the database; an intent that is no JSON, or a kind, id or key that is too long, is refused by it.
pub async fn schedule<J: Job>(work: &mut Work, id: &str, intent: &J::Intent) -> Result<Scheduled, Error> {
    schedule_at::<J>(work, id, intent, None).await
}

/// As [`schedule`], due at a time of the caller's.
///
/// # Errors
/// As [`schedule`].
pub async fn schedule_at<J: Job>(
    work: &mut Work,
    id: &str,
    intent: &J::Intent,
    at: Option<OffsetDateTime>,
) -> Result<Scheduled, Error> {
    let scheduled = schedule_all::<J>(work, &[NewJob { id, intent, at }]).await?;
    scheduled.into_iter().next().ok_or_else(|| Error::stored("a job", "nothing became of it"))
}

/// As [`schedule`], of all jobs of a batch: what became of each, in their order. One statement, two where some are known; none
/// where there is no job. An id that comes twice is new once.
///
/// # Errors
/// As [`schedule`]. Where one is refused none is scheduled.
pub async fn schedule_all<J: Job>(
    work: &mut Work,
    jobs: &[NewJob<'_, J::Intent>],
) -> Result<Vec<Scheduled>, Error> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let rows = jobs.iter().map(|job| {
        let intent = serde_json::to_string(job.intent);
        let intent = intent.map_err(|why| Error::stored("the intent of a job", why))?;
        let account = J::about(job.intent).account.map(|account| account.as_str().to_owned());
        Ok(NewRow { id: job.id, key: J::key(job.intent), intent, account, at: job.at })
    });
    store::schedule(work, J::KIND, &rows.collect::<Result<Vec<_>, Error>>()?).await
}
