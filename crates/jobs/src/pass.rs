//! What a worker does on a schedule: look, do what there is, look again.
//!
//! A pass is safe in any number of processes because its step is: it takes rows that no other process holds, or does what has
//! one effect however often it is done. The schedule here adds what every loop needs: a limit on a step's time, backoff
//! while steps fail, one metric, and an end when the process is asked to stop.

use bus::{Delays, Health};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::error::Error;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What one step of a pass found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// There was nothing to do, or all of it is done: the next look is after the pass's interval.
    Nothing,
    /// There may be more: the next step follows at once.
    More,
}

impl Found {
    /// There may be more where as much was done as is done at a time.
    pub fn more_if(is_more: bool) -> Self {
        if is_more { Found::More } else { Found::Nothing }
    }
}

/// Why a step did not succeed. It is made again.
pub type PassError = Box<dyn Error + Send + Sync>;

type PassStep = Box<dyn FnMut() -> BoxFuture<'static, Result<Found, PassError>> + Send>;

/// A step that is made again and again.
pub struct Pass {
    /// The worker that it belongs to: a label of metrics and logs.
    pub worker: &'static str,
    /// A label of metrics and logs.
    pub name: &'static str,
    /// From the end of one look to the next, while there is nothing.
    pub every: Duration,
    /// A step that takes longer hangs: it is dropped, and made again.
    pub limit: Duration,
    /// Where a step is known by that no limit ends.
    health: Health,
    step: PassStep,
}

impl Pass {
    /// A pass that makes this step, which may fail with whatever error it likes.
    pub fn new<S, F, E>(name: &'static str, every: Duration, limit: Duration, mut step: S) -> Self
    where
        S: FnMut() -> F + Send + 'static,
        F: Future<Output = Result<Found, E>> + Send + 'static,
        E: Into<PassError>,
    {
        let step: PassStep = Box::new(move || step().map(|found| found.map_err(Into::into)).boxed());
        Self { worker: "", name, every, limit, health: Health::default(), step }
    }

    /// The same as a pass of this worker's, in metrics and logs.
    #[must_use]
    pub fn of(self, worker: &'static str) -> Self {
        Self { worker, ..self }
    }

    /// The same, known to the process's `/healthz`: a step that no limit ends stands there as `<worker>/<pass>`.
    #[must_use]
    pub fn known_to(self, health: &Health) -> Self {
        Self { health: health.clone(), ..self }
    }

    /// Makes steps until the token is cancelled. A step in hand is ended by its own limit alone, so that what it has begun
    /// is not lost half way; its process waits for it while it drains.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut delays = Delays::for_servers();
        while !stop.is_cancelled() {
            let pause = match self.step_once().await {
                Ok(Found::More) => {
                    delays.reset();
                    continue;
                }
                Ok(Found::Nothing) => {
                    delays.reset();
                    self.every
                }
                Err(error) => {
                    tracing::warn!(worker = self.worker, pass = self.name, %error, "a pass failed and is made again");
                    delays.next_delay()
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One step within its limit. A panic in it is an error like another.
    async fn step_once(&mut self) -> Result<Found, PassError> {
        let started = Instant::now();
        let _busy = self.health.step(&format!("{}/{}", self.worker, self.name), self.limit);
        let step = &mut self.step;
        // Begun in a block: a panic before the step's first wait is caught too.
        let step = AssertUnwindSafe(async move { step().await }).catch_unwind();
        let (result, found) = match tokio::time::timeout(self.limit, step).await {
            Ok(Ok(Ok(Found::Nothing))) => ("nothing", Ok(Found::Nothing)),
            Ok(Ok(Ok(Found::More))) => ("more", Ok(Found::More)),
            Ok(Ok(Err(error))) => ("failed", Err(error)),
            Ok(Err(panic)) => ("panicked", Err(format!("it panicked: {}", bus::panic_text(&*panic)).into())),
            Err(_) => ("hung", Err(format!("it took longer than {} s", self.limit.as_secs()).into())),
        };
        metrics::histogram!("bursar_pass_seconds", "worker" => self.worker, "pass" => self.name, "result" => result)
            .record(started.elapsed().as_secs_f64());
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Arc, Barrier};

    type MadeStep = fn() -> BoxFuture<'static, Result<Found, PassError>>;

    /// Runs a pass whose steps end so, one after another, until it has made them all.
    async fn run(steps: Vec<MadeStep>) -> u32 {
        let (made, stop) = (Arc::new(AtomicU32::new(0)), CancellationToken::new());
        let (counted, last) = (made.clone(), stop.clone());
        let pass = Pass::new("test", Duration::from_millis(1), Duration::from_millis(20), move || {
            let number = counted.fetch_add(1, Ordering::SeqCst) as usize;
            if number + 1 == steps.len() {
                last.cancel();
            }
            steps[number]()
        });
        pass.run(stop).await;
        made.load(Ordering::SeqCst)
    }

    /// A loop that never waits: the limit on the step's time is never looked at.
    #[test]
    fn a_step_that_never_waits_is_known_as_stuck() {
        let (health, stop) = (Health::default(), CancellationToken::new());
        let (entered, goes_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let (begun, ends, last) = (entered.clone(), goes_on.clone(), stop.clone());
        let pass = Pass::new("spins", Duration::from_millis(1), Duration::from_millis(1), move || {
            begun.wait();
            ends.wait();
            last.cancel();
            async { Ok::<_, PassError>(Found::Nothing) }
        });
        let pass = pass.of("clerk").known_to(&health);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let running = runtime.spawn(pass.run(stop));
        entered.wait();
        while health.stuck().is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(health.stuck(), ["clerk/spins"]);
        goes_on.wait();
        runtime.block_on(running).unwrap();
        assert!(health.stuck().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_fails_panics_or_hangs_is_made_again() {
        let steps: Vec<MadeStep> = vec![
            || async { Ok(Found::More) }.boxed(),
            || async { Err("away".into()) }.boxed(),
            || async { panic!("a bug") }.boxed(),
            || -> BoxFuture<'static, Result<Found, PassError>> { panic!("a bug before the first wait") },
            || std::future::pending().boxed(),
            || async { Ok(Found::Nothing) }.boxed(),
        ];
        assert_eq!(run(steps).await, 6);
    }
}
