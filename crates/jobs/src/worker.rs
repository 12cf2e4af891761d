//! The type of the list of workers: what a fleet knows of each worker, and nothing but this.
//!
//! [`WorkerSpec`] is what holds of a worker however it is configured: constants, which the topology, metrics and the
//! commands read. [`Member`] is the worker as it is configured: what a process runs, and what a plan asks. To add a
//! worker, write both in the worker's own crate, and one line in the list.

use crate::consumer::{Consumer, Consumes, ForeseenBy, PostedBy};
use crate::job::{JobServers, KeptFor, Kinds, Owner, PutBack, RunnerPace, purge};
use crate::pass::{Found, Pass};
use crate::rebuild::Rebuilds;
use crate::watch::{AlertWatcher, Watch};
use bus::outbox::Sweeper;
use bus::{Broker, Context, Namespace, Publisher, QueueSpec};
use db::PgConnection;
use facts::conservation::Culprit;
use facts::{FactWriter, Readers};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// What a worker is, before it is configured.
#[derive(Clone, Copy)]
pub struct WorkerSpec {
    /// A public name: in commands, metrics, dead letters and services.
    pub name: &'static str,
    /// The queues that it reads, and what they are bound to.
    pub queues: &'static [QueueSpec],
    /// The codes of its dead letters, beside those of the loop.
    pub codes: &'static [&'static str],
    /// The alerts that it may raise.
    pub alerts: &'static [&'static str],
    /// What it measures in Postgres whenever metrics are asked for.
    pub gauges: Option<Gauges>,
    /// What it proves of its own tables, for `ledger verify`.
    pub checks: &'static [CheckSpec],
    pub needs: Needs,
}

/// What must be there for a worker to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// RabbitMQ and the front door: it runs while Postgres is away or is migrated.
    Door,
    /// RabbitMQ and the tables in Postgres.
    Database,
}

/// Asks Postgres for a worker's gauges.
pub type Gauges = for<'a> fn(&'a mut PgConnection) -> BoxFuture<'a, Result<Vec<Gauge>, db::Error>>;

/// A figure as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Gauge {
    pub name: &'static str,
    /// Words of our own alone. A gauge that had labels and is not measured any more is 0.
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
    /// What it measures, for people.
    pub help: &'static str,
}

impl Gauge {
    pub fn new(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, labels: Vec::new(), value, help }
    }

    #[must_use]
    pub fn with(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((label, value.into()));
        self
    }
}

/// A rule of a worker's tables, and how it is checked.
#[derive(Clone, Copy)]
pub struct CheckSpec {
    pub name: &'static str,
    /// What holds, in words.
    pub rule: &'static str,
    /// Within the transaction that sees one moment of the database. Names at most one culprit more than the given number.
    pub run: for<'a> fn(&'a mut PgConnection, i64) -> BoxFuture<'a, Result<Checked, db::Error>>,
}

/// How a check went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// How many were looked at.
    pub checked: i64,
    /// The first of those that break the rule.
    pub failed: Vec<Culprit>,
}

/// What the fleet gives to a worker that is configured.
#[derive(Clone)]
pub struct Floor {
    pub namespace: Namespace,
    pub readers: Readers,
    /// The names of all workers.
    pub workers: &'static [&'static str],
    /// Consumers' connections to RabbitMQ.
    pub consume: Broker,
    /// A task that publishes beside others takes a `sibling` of it.
    pub publisher: Publisher,
    /// States facts durably, within the time that a webhook's sender waits.
    pub writer: FactWriter,
    /// For statements that find their rows by keys.
    pub pool: db::Pool,
    /// For statements that may read whole tables.
    pub whole: db::Pool,
    /// How stored bodies of webhooks are read.
    pub settings: processors::Settings,
}

/// Carries out a worker's jobs until the token is cancelled.
type Carries = Box<dyn FnOnce(JobServers, CancellationToken) -> BoxFuture<'static, ()> + Send>;

/// Makes the pass of a watcher once it is known what it works with.
type Watches = Box<dyn FnOnce(Context) -> Pass + Send>;

/// How often conditions of alerts are looked for.
pub const WATCH_EVERY: Duration = Duration::from_secs(10);

/// A look at alerts that takes longer hangs.
const WATCH_LIMIT: Duration = Duration::from_secs(60);

/// How often to look into the outbox while there is nothing.
const OUTBOX_EVERY: Duration = Duration::from_secs(2);

/// Publishing a row of the outbox that takes longer hangs. It is one batch's.
const OUTBOX_LIMIT: Duration = Duration::from_secs(60);

/// A worker as it is configured.
#[derive(Default)]
pub struct Member {
    pub consumers: Vec<Arc<dyn Consumer>>,
    pub passes: Vec<Pass>,
    /// Whether it commits events: then its process publishes what was left in the outbox, too.
    pub emits: bool,
    /// The alerts that it watches for.
    pub alerts: Vec<&'static str>,
    /// The codes of dead letters that it gives: those of its readers and of its jobs.
    pub codes: Vec<&'static str>,
    /// The kinds of jobs that it carries out.
    pub kinds: Vec<&'static str>,
    /// Its readers whose tables a rebuild makes anew.
    pub rebuilds: Vec<Arc<dyn Rebuilds>>,
    watches: Vec<Watches>,
    jobs: Vec<Carries>,
    forgets_jobs: bool,
}

impl Member {
    pub fn new() -> Self {
        Self::default()
    }

    /// It reads a queue.
    #[must_use]
    pub fn reads<W: bus::Worker>(mut self, worker: W) -> Self {
        self.codes.extend(W::CODES);
        self.consumers.push(Arc::new(Consumes::new(worker)));
        self
    }

    /// It reads a queue and writes the journal: plans show what it posts.
    #[must_use]
    pub fn posts<W: bus::Worker>(mut self, worker: W, posted: PostedBy) -> Self {
        self.codes.extend(W::CODES);
        self.consumers.push(Arc::new(Consumes { posted: Some(posted), ..Consumes::new(worker) }));
        self
    }

    /// Its tables follow from the facts that it settled: a rebuild proves it.
    #[must_use]
    pub fn rebuilds<R: Rebuilds + 'static>(mut self, rebuilds: R) -> Self {
        self.rebuilds.push(Arc::new(rebuilds));
        self
    }

    /// It does something on a schedule.
    #[must_use]
    pub fn pass(mut self, pass: Pass) -> Self {
        self.passes.push(pass);
        self
    }

    /// It commits events.
    #[must_use]
    pub fn emits(mut self) -> Self {
        self.emits = true;
        self
    }

    /// It watches for conditions that operators are alerted of, and emits their events.
    #[must_use]
    pub fn watches<W: Watch + 'static>(mut self, worker: &'static str, watch: W) -> Self {
        self.emits = true;
        self.alerts.extend(watch.alerts());
        self.watches.push(Box::new(move |context| {
            let watcher = Arc::new(Mutex::new(AlertWatcher::new(context, worker, watch)));
            Pass::new("alerts", WATCH_EVERY, WATCH_LIMIT, move || {
                let watcher = watcher.clone();
                async move {
                    watcher.lock().await.look(OffsetDateTime::now_utc()).await?;
                    Ok::<_, db::Error>(Found::Nothing)
                }
            })
        }));
        self
    }

    /// It calls the outside. What comes back of these jobs as replayed letters it reads, too.
    #[must_use]
    pub fn carries_out<O: Owner>(mut self, kinds: Kinds<O>, pace: RunnerPace) -> Self {
        self.forgets_jobs = true;
        self.kinds.extend(kinds.names());
        self.codes.extend(O::CODES);
        let foreseen: ForeseenBy<PutBack<O>> =
            |put_back, work, item| async move { Ok(put_back.foresee(work, item).await?.in_words()) }.boxed();
        self.consumers
            .push(Arc::new(Consumes { foreseen: Some(foreseen), ..Consumes::new(kinds.put_back()) }));
        self.emits = true;
        self.jobs.push(Box::new(move |servers, stop| crate::job::run(kinds, servers, pace, stop).boxed()));
        self
    }

    /// What a process runs besides, where one of its workers commits events: it publishes what a crash, or a broker that was
    /// away, left in the outbox.
    pub fn publish_left(context: &Context) -> Pass {
        let publisher = context.publisher.sibling();
        let sweeper = Sweeper::new(context.namespace.clone(), context.pool.clone(), publisher);
        let sweeper = Arc::new(Mutex::new(sweeper));
        let pass = Pass::new("outbox", OUTBOX_EVERY, OUTBOX_LIMIT, move || {
            let sweeper = sweeper.clone();
            async move { sweeper.lock().await.sweep_once().await.map(Found::more_if) }
        });
        pass.of("fleet").known_to(&context.health)
    }

    /// Everything that a process runs for it, each until the context's token is cancelled. `whole`: the pool whose statements
    /// may read whole tables.
    pub fn run(
        self,
        worker: &'static str,
        lanes: usize,
        context: &Context,
        whole: &db::Pool,
    ) -> Vec<BoxFuture<'static, ()>> {
        let mut running: Vec<BoxFuture<'static, ()>> = Vec::new();
        let stop = || context.stop.clone();
        running.extend(self.consumers.into_iter().map(|consumer| consumer.run(lanes, context.clone())));
        let of = |pass: Pass| pass.of(worker).known_to(&context.health);
        running.extend(self.passes.into_iter().map(|pass| of(pass).run(stop()).boxed()));
        for watch in self.watches {
            let publisher = context.publisher.sibling();
            let context = Context { publisher, pool: whole.clone(), ..context.clone() };
            running.push(of(watch(context)).run(stop()).boxed());
        }
        if self.forgets_jobs {
            running.push(of(forget_jobs(context.pool.clone())).run(stop()).boxed());
        }
        for carry_out in self.jobs {
            let publisher = context.publisher.sibling();
            let (namespace, pool, health) =
                (context.namespace.clone(), context.pool.clone(), context.health.clone());
            let servers = JobServers { namespace, pool, publisher, health };
            running.push(carry_out(servers, stop()));
        }
        running
    }
}

/// How long jobs are kept that are at an end: those that went well for as long as people may ask about them, those that were
/// given up for as long as their letters may be replayed.
const JOBS_KEPT: KeptFor =
    KeptFor { done: Duration::from_secs(30 * 86_400), dead: Duration::from_secs(180 * 86_400) };

/// Jobs deleted in one go.
const JOBS_AT_ONCE: u32 = 5_000;

/// How often jobs are looked for that were kept for long enough, and how long deleting a portion of them may take.
const FORGET_EVERY: Duration = Duration::from_secs(600);
const FORGET_LIMIT: Duration = Duration::from_secs(120);

/// Deletes jobs that are at an end for long.
fn forget_jobs(pool: db::Pool) -> Pass {
    Pass::new("forget_jobs", FORGET_EVERY, FORGET_LIMIT, move || {
        let pool = pool.clone();
        async move {
            let jobs = purge(&pool, JOBS_KEPT, JOBS_AT_ONCE).await?;
            Ok::<_, db::Error>(Found::more_if(jobs == u64::from(JOBS_AT_ONCE)))
        }
    })
}
