//! Takes what is due and carries it out, until it is asked to stop.

use super::kind::{JobKind, Kinds};
use super::servers::JobServers;
use super::store::{self, TakenJobs};
use super::{Owner, letter};
use bus::Delays;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Taking, or publishing letters, that takes longer hangs.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// How often gauges are set.
const MEASURE: Duration = Duration::from_secs(10);

/// How one process goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunnerPace {
    /// Calls and questions under way in this process.
    pub calls_max: u32,
    /// How often to look while nothing is due.
    pub look: Duration,
    /// How long calls in hand may go on after it was asked to stop. What then has no end is unknown once its lease ends.
    pub drain: Duration,
}

impl Default for RunnerPace {
    fn default() -> Self {
        Self { calls_max: 64, look: Duration::from_secs(1), drain: Duration::from_secs(30) }
    }
}

/// Carries out the jobs of these kinds until the token is cancelled and the calls in hand have ended, or [`RunnerPace::drain`]
/// has. Any number of processes may do so. It never fails: while a server is away it pauses.
pub async fn run<O: Owner>(kinds: Kinds<O>, servers: JobServers, pace: RunnerPace, stop: CancellationToken) {
    for kind in kinds.names() {
        for end in ["done", "again", "unknown", "gave_up", "crashed", "late"] {
            metrics::counter!("bursar_job_attempts_total", "kind" => kind, "end" => end).increment(0);
        }
    }
    tokio::join!(
        carry_out(&kinds, &servers, pace, &stop),
        publish_letters(&kinds, &servers, pace, &stop),
        set_gauges(&kinds, &servers, &stop),
    );
}

async fn carry_out<O: Owner>(
    kinds: &Kinds<O>,
    servers: &JobServers,
    pace: RunnerPace,
    stop: &CancellationToken,
) {
    let servers = Arc::new(servers.clone());
    let mut in_hand = JoinSet::new();
    let mut delays = Delays::for_servers();
    let mut turn = Turn::default();
    while !stop.is_cancelled() {
        turn.first += 1;
        let pause = match take_round(kinds, &servers, pace, &mut turn, &mut in_hand).await {
            Ok(true) => Duration::ZERO,
            Ok(false) => {
                delays.reset();
                pace.look
            }
            Err(error) => {
                tracing::warn!(%error, "taking jobs pauses");
                rest(delays.next_delay(), stop).await;
                continue;
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            // A place is free: here, and it may be the last of a key that others wait for.
            Some(ended) = in_hand.join_next() => log_panic(ended),
            () = tokio::time::sleep(pause) => {}
        }
        while let Some(ended) = in_hand.try_join_next() {
            log_panic(ended);
        }
    }
    let drained = async { while in_hand.join_next().await.is_some() {} };
    if tokio::time::timeout(pace.drain, drained).await.is_err() {
        tracing::warn!(left = in_hand.len(), "jobs are left to the end of their leases");
    }
    in_hand.shutdown().await;
}

/// Whose turn it is.
#[derive(Default)]
struct Turn {
    /// Of the kinds.
    first: usize,
    /// By kind the key behind which a look begins that leaps from key to key.
    after: BTreeMap<&'static str, String>,
}

/// Takes what is due of each kind, the kinds in turn, and returns whether more may be due at once.
async fn take_round<O: Owner>(
    kinds: &Kinds<O>,
    servers: &Arc<JobServers>,
    pace: RunnerPace,
    turn: &mut Turn,
    in_hand: &mut JoinSet<()>,
) -> Result<bool, db::Error> {
    let (all, mut is_more) = (kinds.all(), false);
    for place in 0..all.len() {
        let kind = all[(turn.first + place) % all.len()].clone();
        let room = pace.calls_max.saturating_sub(in_hand.len() as u32);
        if room == 0 {
            return Ok(false);
        }
        let after = turn.after.entry(kind.name()).or_default();
        is_more |= take(&kind, servers, room, after, in_hand).await? > 0;
    }
    Ok(is_more)
}

async fn take(
    kind: &Arc<dyn JobKind>,
    servers: &Arc<JobServers>,
    room: u32,
    after: &mut String,
    in_hand: &mut JoinSet<()>,
) -> Result<usize, db::Error> {
    let limits = kind.limits();
    let room = room.min(limits.of_kind);
    // Before the lease begins in Postgres: by this clock it ends no later.
    let until = Instant::now() + limits.lease;
    let taken = store::take(&servers.pool, kind.name(), room, &limits, after);
    let TakenJobs { jobs, next_after } = db::within(TIME_LIMIT, "taking jobs", taken).await?;
    *after = next_after;
    let count = jobs.len();
    for taken in jobs {
        let (kind, servers) = (kind.clone(), servers.clone());
        in_hand.spawn(async move {
            let _busy = servers.health.step(&format!("job {}", kind.name()), limits.lease);
            kind.carry_out(taken, until, &servers).await;
        });
    }
    Ok(count)
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a job ended by a panic outside its handler");
    }
}

async fn publish_letters<O: Owner>(
    kinds: &Kinds<O>,
    servers: &JobServers,
    pace: RunnerPace,
    stop: &CancellationToken,
) {
    let mut delays = Delays::for_servers();
    while !stop.is_cancelled() {
        let published = letter::publish(kinds, servers);
        let limited = tokio::time::timeout(TIME_LIMIT, published).await;
        let silent = || db::Error::Silent { doing: "publishing letters of jobs", limit: TIME_LIMIT };
        let pause = match limited.unwrap_or_else(|_| Err(silent())) {
            Ok(true) => continue,
            Ok(false) => {
                delays.reset();
                pace.look
            }
            Err(error) => {
                tracing::warn!(%error, "publishing letters of jobs pauses");
                delays.next_delay()
            }
        };
        rest(pause, stop).await;
    }
}

async fn set_gauges<O: Owner>(kinds: &Kinds<O>, servers: &JobServers, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let names = kinds.names();
        let measured = store::measure(&servers.pool, &names);
        // What cannot be measured now is measured later; the task that takes jobs logs that the database is away.
        if let Err(error) = db::within(TIME_LIMIT, "counting jobs", measured).await {
            tracing::debug!(%error, "jobs are not counted");
        }
        rest(MEASURE, stop).await;
    }
}

async fn rest(pause: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(pause) => {}
    }
}
