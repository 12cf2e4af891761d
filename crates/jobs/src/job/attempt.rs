//! One attempt: the call or the question, and the transaction that commits its end.

use super::servers::JobServers;
use super::store::{self, AttemptEnd, JobState, TakenJob};
use super::{Asked, CallAttempt, Called, Delay, Job, JobLimits, JobVerdict, code};
use bus::{Delays, EmittedEvents, Fate, Fated, panic_text};
use db::Work;
use futures_util::FutureExt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;

/// A transaction that takes longer hangs. More than the ten seconds for which Postgres lets it wait for a lock: that ends first,
/// and says what it waited for.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// A database that takes longer to make a small change does not answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// A handler that fails so often to settle one answer leaves the end unknown: it is asked about later.
const FAILURES_MAX: u32 = 3;

/// A kind of jobs, as its owner has it.
pub(super) struct OwnedJob<J> {
    pub job: J,
    /// Whose jobs they are.
    pub worker: &'static str,
    /// The codes that its handler may give up with.
    pub codes: &'static [&'static str],
}

pub(super) struct CarriedOut<'a, J> {
    owned: &'a OwnedJob<J>,
    limits: JobLimits,
    taken: TakenJob,
    until: Instant,
    servers: &'a JobServers,
}

/// What is to be written.
enum Ending<A> {
    Answered(A),
    Known(AttemptEnd),
    /// The handler is not asked what it writes about it: it could not say.
    Bare(AttemptEnd),
}

/// What was written.
enum WrittenEnd {
    End(AttemptEnd, Option<EmittedEvents>),
    /// Another process holds the row by now, or the commit whose answer did not come has written the end.
    NotHeld,
}

struct SettlingFailure {
    why: String,
    passes: bool,
    /// It took too long: it passes only where the database does not answer either.
    is_hung: bool,
    /// The commit may hold nevertheless.
    is_uncertain: bool,
}

impl SettlingFailure {
    fn of(error: &impl Fated) -> Self {
        let fate = error.fate();
        let passes = matches!(fate, Fate::Transient | Fate::Hung);
        Self { why: error.to_string(), passes, is_hung: matches!(fate, Fate::Hung), is_uncertain: false }
    }
}

impl<'a, J: Job> CarriedOut<'a, J> {
    pub fn new(owned: &'a OwnedJob<J>, taken: TakenJob, until: Instant, servers: &'a JobServers) -> Self {
        Self { owned, limits: owned.job.limits(), taken, until, servers }
    }

    pub async fn run(self) {
        if self.taken.is_orphan {
            self.count("crashed");
        }
        let asks_over = i64::from(self.taken.asks) - i64::from(self.limits.asks_max);
        if asks_over > 1 {
            // The handler was to be told of it, and the process ended before that was written.
            return self.finish(None, Ending::Bare(self.asked_out())).await;
        }
        match serde_json::from_str::<J::Intent>(self.taken.intent.get()) {
            Ok(intent) => {
                let attempt = self.attempt(intent);
                let ending = match self.taken.step {
                    JobState::Calling => self.call(&attempt).await,
                    // The last question was asked, and no end was written: its process ended, or could not settle its answer.
                    _ if asks_over > 0 => Ending::Known(self.asked_out()),
                    _ => self.ask(&attempt).await,
                };
                self.finish(Some(&attempt), ending).await;
            }
            // Of a call that was taken nothing was sent.
            Err(why) => {
                let (code, is_unknown) = (code::UNREADABLE_INTENT, self.taken.step != JobState::Calling);
                let end = AttemptEnd::Dead { code, why: why.to_string(), is_unknown };
                self.finish(None, Ending::Bare(end)).await;
            }
        }
    }

    /// All questions were asked.
    fn asked_out(&self) -> AttemptEnd {
        let why = "no question about it could be settled, and there were as many as may be".to_owned();
        AttemptEnd::Dead { code: code::UNKNOWN_END, why, is_unknown: true }
    }

    fn attempt(&self, intent: J::Intent) -> CallAttempt<J::Intent> {
        let number = |count: i32| u32::try_from(count).unwrap_or_default();
        CallAttempt {
            kind: J::KIND,
            id: self.taken.id.clone(),
            intent,
            number: number(self.taken.attempt),
            asked: number(self.taken.asks).saturating_sub(1),
            called_at: self.taken.called_at,
            age_when_taken: self.taken.age,
            taken_at: self.taken.taken_at,
        }
    }

    async fn call(&self, attempt: &CallAttempt<J::Intent>) -> Ending<J::Answer> {
        // The lease must not end under a call: this process stood still since it took the row.
        if Instant::now() + self.limits.call > self.until {
            let why = "it was taken up too late".to_owned();
            return Ending::Known(AttemptEnd::NotCalled(self.limits.again.0, why));
        }
        match self.limited("call", async { self.owned.job.call(attempt).await }).await {
            Ok(Called::Answered(answer)) => Ending::Answered(answer),
            Ok(Called::NotSent(why)) => Ending::Known(self.again(Delay::Backoff, why)),
            Ok(Called::Impossible(why)) => {
                let code = code::IMPOSSIBLE_REQUEST;
                Ending::Known(AttemptEnd::Dead { code, why, is_unknown: false })
            }
            Ok(Called::Unknown(why)) | Err(why) => Ending::Known(self.unknown(Delay::Backoff, why)),
        }
    }

    async fn ask(&self, attempt: &CallAttempt<J::Intent>) -> Ending<J::Answer> {
        match self.limited("ask", async { self.owned.job.ask(attempt).await }).await {
            Ok(Asked::Answered(answer)) => Ending::Answered(answer),
            Ok(Asked::Absent(why)) => Ending::Known(self.again(Delay::Backoff, why)),
            Ok(Asked::Unknown(why)) | Err(why) => Ending::Known(self.unknown(Delay::Backoff, why)),
        }
    }

    /// What the handler says in time, or why it says nothing. The handler is begun in here, so that a panic of it is caught
    /// before its first wait too: callers pass a block.
    async fn limited<T>(&self, step: &'static str, said: impl Future<Output = T>) -> Result<T, String> {
        let began = Instant::now();
        let said = AssertUnwindSafe(tokio::time::timeout(self.limits.call, said)).catch_unwind().await;
        metrics::histogram!("bursar_job_seconds", "kind" => J::KIND, "step" => step)
            .record(began.elapsed().as_secs_f64());
        match said {
            Ok(Ok(said)) => Ok(said),
            Ok(Err(_)) => Err(format!("{step}: no answer within {:?}", self.limits.call)),
            Err(panic) => {
                metrics::counter!("bursar_panics_total", "worker" => self.owned.worker).increment(1);
                Err(format!("{step}: it panicked: {}", panic_text(&*panic)))
            }
        }
    }

    /// The call is known to have failed.
    fn again(&self, next: Delay, why: String) -> AttemptEnd {
        match i64::from(self.taken.calls) >= i64::from(self.limits.calls_max) {
            true => AttemptEnd::Dead { code: code::ATTEMPTS, why, is_unknown: false },
            false => AttemptEnd::Again(delay(next, self.limits.again, self.taken.calls), why),
        }
    }

    fn unknown(&self, next: Delay, why: String) -> AttemptEnd {
        match i64::from(self.taken.asks) >= i64::from(self.limits.asks_max) {
            true => AttemptEnd::Dead { code: code::UNKNOWN_END, why, is_unknown: true },
            false => AttemptEnd::Unknown(delay(next, self.limits.ask, self.taken.asks + 1), why),
        }
    }

    fn end_of(&self, verdict: JobVerdict) -> AttemptEnd {
        match verdict {
            JobVerdict::Done => AttemptEnd::Done,
            JobVerdict::Again(next, why) => self.again(next, why),
            JobVerdict::Unknown(next, why) => self.unknown(next, why),
            JobVerdict::GaveUp(code, why) => {
                bus::check_code(self.owned.worker, self.owned.codes, code);
                AttemptEnd::Dead { code, why, is_unknown: false }
            }
        }
    }

    /// Writes the end; again while the database is away, for as long as the lease lasts. What was answered is not forgotten
    /// before that.
    async fn finish(&self, attempt: Option<&CallAttempt<J::Intent>>, mut ending: Ending<J::Answer>) {
        let (mut delays, mut failures, mut is_uncertain) = (Delays::for_servers(), 0, false);
        loop {
            let failure = match self.transact(attempt, &ending).await {
                Ok(WrittenEnd::End(end, emitted)) => return self.written(end, emitted).await,
                Ok(WrittenEnd::NotHeld) => return self.not_held(is_uncertain),
                Err(failure) => failure,
            };
            is_uncertain |= failure.is_uncertain;
            failures += u32::from(!self.passes(&failure).await);
            let (kind, id, why, delay) = (J::KIND, &*self.taken.id, failure.why, delays.next_delay());
            tracing::warn!(kind, id, why, "the end of a job's call cannot be written yet");
            if failures == FAILURES_MAX {
                failures = 0;
                ending = self.without_handler(ending, why);
            }
            if Instant::now() + delay >= self.until {
                tracing::error!(kind, id, "a job is left to the end of its lease");
                return;
            }
            tokio::time::sleep(delay).await;
        }
    }

    /// Whether it is the database's fault, which may be over at the next try.
    async fn passes(&self, failure: &SettlingFailure) -> bool {
        failure.passes && !(failure.is_hung && db::answers(&self.servers.pool, ANSWER_LIMIT).await)
    }

    fn without_handler(&self, ending: Ending<J::Answer>, why: String) -> Ending<J::Answer> {
        match ending {
            Ending::Answered(_) => {
                Ending::Known(self.unknown(Delay::Backoff, format!("its answer could not be settled: {why}")))
            }
            Ending::Known(end) | Ending::Bare(end) => Ending::Bare(end),
        }
    }

    async fn transact(
        &self,
        attempt: Option<&CallAttempt<J::Intent>>,
        ending: &Ending<J::Answer>,
    ) -> Result<WrittenEnd, SettlingFailure> {
        let pool = &self.servers.pool;
        let mut work = Work::new(pool.clone(), OffsetDateTime::now_utc());
        let write = tokio::time::timeout(TIME_LIMIT, self.write(&mut work, attempt, ending));
        let written = match db::unless_moved(pool, AssertUnwindSafe(write).catch_unwind()).await {
            Ok(Ok(Ok(written))) => written,
            Ok(Ok(Err(_))) => {
                let why = format!("it took longer than {TIME_LIMIT:?}");
                return Err(SettlingFailure { why, passes: true, is_hung: true, is_uncertain: false });
            }
            Ok(Err(panic)) => {
                metrics::counter!("bursar_panics_total", "worker" => self.owned.worker).increment(1);
                let why = format!("it panicked: {}", panic_text(&*panic));
                return Err(SettlingFailure { why, passes: false, is_hung: false, is_uncertain: false });
            }
            Err(moved) => return Err(SettlingFailure::of(&moved)),
        };
        match written {
            Ok(written) => {
                let committed = db::within(TIME_LIMIT, "committing", work.commit());
                match db::unless_moved(pool, committed).await.and_then(|committed| committed) {
                    Ok(()) => Ok(written),
                    Err(error) => Err(SettlingFailure {
                        passes: true,
                        is_hung: false,
                        is_uncertain: true,
                        ..SettlingFailure::of(&error)
                    }),
                }
            }
            Err(failure) => {
                drop(tokio::time::timeout(TIME_LIMIT, work.abandon()).await);
                Err(failure)
            }
        }
    }

    async fn write(
        &self,
        work: &mut Work,
        attempt: Option<&CallAttempt<J::Intent>>,
        ending: &Ending<J::Answer>,
    ) -> Result<WrittenEnd, SettlingFailure> {
        let database = |error: db::Error| SettlingFailure::of(&error);
        if !store::hold(work, J::KIND, &self.taken).await.map_err(database)? {
            return Ok(WrittenEnd::NotHeld);
        }
        let (end, settled) = match (ending, attempt) {
            (Ending::Answered(answer), Some(attempt)) => {
                let settled = self.owned.job.settle(work, attempt, answer).await;
                let settled = settled.map_err(|error| SettlingFailure::of(&error))?;
                (self.end_of(settled.verdict), settled.emitted)
            }
            (Ending::Answered(_), None) => {
                (self.unknown(Delay::Backoff, "without an intent".to_owned()), None)
            }
            (Ending::Known(end) | Ending::Bare(end), _) => (end.clone(), None),
        };
        let mut emitted = settled;
        if let (AttemptEnd::Dead { code, why, .. }, Some(attempt), false) =
            (&end, attempt, matches!(ending, Ending::Bare(_)))
        {
            let told = self.owned.job.gave_up(work, attempt, code, why).await;
            let told = told.map_err(|error| SettlingFailure::of(&error))?;
            // What the verdict came with is committed in any case: the sweeper of the outbox publishes what is not here.
            emitted = emitted.or(told);
        }
        store::end(work, J::KIND, &self.taken, &end).await.map_err(database)?;
        Ok(WrittenEnd::End(end, emitted))
    }

    async fn written(&self, end: AttemptEnd, emitted: Option<EmittedEvents>) {
        let (kind, id, attempt) = (J::KIND, &*self.taken.id, self.taken.attempt);
        match &end {
            AttemptEnd::Done => tracing::debug!(kind, id, attempt, "a job is done"),
            AttemptEnd::Again(delay, _) => {
                tracing::warn!(kind, id, attempt, again_ms = delay.as_millis() as u64, "a job's call failed");
            }
            AttemptEnd::NotCalled(..) => {
                tracing::warn!(kind, id, attempt, "a job was taken up too late to be called")
            }
            AttemptEnd::Unknown(delay, _) => {
                let ask_ms = delay.as_millis() as u64;
                tracing::warn!(kind, id, attempt, ask_ms, "what became of a job's call is not known");
            }
            AttemptEnd::Dead { code, .. } => tracing::error!(kind, id, attempt, code, "a job is given up"),
        }
        self.count(match end {
            AttemptEnd::Done => "done",
            AttemptEnd::Again(..) | AttemptEnd::NotCalled(..) => "again",
            AttemptEnd::Unknown(..) => "unknown",
            AttemptEnd::Dead { .. } => "gave_up",
        });
        if let Some(emitted) = emitted {
            self.servers.publish_emitted(emitted).await;
        }
    }

    fn not_held(&self, is_uncertain: bool) {
        if !is_uncertain {
            let (kind, id, attempt) = (J::KIND, &*self.taken.id, self.taken.attempt);
            tracing::warn!(kind, id, attempt, "a job's end came after its lease and is not written");
            self.count("late");
        }
    }

    fn count(&self, end: &'static str) {
        metrics::counter!("bursar_job_attempts_total", "kind" => J::KIND, "end" => end).increment(1);
    }
}

/// The delay before the `count`-th repetition.
fn delay(next: Delay, (first, longest): (Duration, Duration), count: i32) -> Duration {
    match next {
        Delay::After(delay) => delay,
        Delay::Backoff => {
            let mut delays = Delays::new(first, longest);
            let drawn = (0..count.clamp(1, 64)).map(|_| delays.next_delay());
            drawn.last().unwrap_or(first)
        }
    }
}
