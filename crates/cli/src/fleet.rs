//! The fleet in one process: any set of workers, their doors, and how they stop.

use crate::admin;
use crate::api;
use crate::descriptors;
use crate::session::{CONFIRM_TIMEOUT, Session};
use anyhow::{Context, Result, anyhow};
use bus::{Broker, Delays, Health, Publisher, Topology};
use db::Doing;
use dead_letters::alerts::Watcher;
use dead_letters::{DeadLetters, Retention};
use facts::FactWriter;
use ingester::{Access, Intake, Limits, RawQueue};
use metrics_exporter_prometheus::PrometheusHandle;
use std::future::Future;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The list of workers. To add one: its crate, a line here, and the arm of [`Fleet::start_worker`] that the compiler asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkerName {
    Ingester,
    Gate,
    Ledger,
    DeadLetters,
}

impl WorkerName {
    pub const ALL: [WorkerName; 4] =
        [WorkerName::Ingester, WorkerName::Gate, WorkerName::Ledger, WorkerName::DeadLetters];

    pub fn as_str(self) -> &'static str {
        match self {
            WorkerName::Ingester => "ingester",
            WorkerName::Gate => "gate",
            WorkerName::Ledger => "ledger",
            WorkerName::DeadLetters => "dead-letters",
        }
    }
}

impl WorkerName {
    fn needs_database(self) -> bool {
        match self {
            WorkerName::Ingester => false,
            WorkerName::Gate | WorkerName::Ledger | WorkerName::DeadLetters => true,
        }
    }
}

impl FromStr for WorkerName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.map(WorkerName::as_str).join(", ");
        Self::ALL
            .into_iter()
            .find(|worker| worker.as_str() == text)
            .ok_or_else(|| format!("expected a worker of {known}, got {text:?}"))
    }
}

/// The answer to a webhook must not wait longer for RabbitMQ than this before Postgres is tried.
const FRONT_DOOR_CONFIRM_TIMEOUT: Duration = Duration::from_millis(1500);

/// What is not settled this long after it was asked to stop is left to its next start.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(40);

/// How often old raw bodies are looked for.
const PURGE_INTERVAL: Duration = Duration::from_secs(600);

/// Raw bodies deleted in one go.
const PURGE_AT_ONCE: i64 = 5_000;

/// A running fleet.
pub struct Fleet {
    session: Arc<Session>,
    consume: Broker,
    publish: Broker,
    health: Health,
    stop: CancellationToken,
    tasks: JoinSet<Result<()>>,
    /// Where webhooks are taken, once the ingester listens.
    pub http_addr: Option<SocketAddr>,
    pub admin_addr: Option<SocketAddr>,
}

impl Fleet {
    /// Starts the workers. The doors open at once; each worker's consumers start when the servers it needs are there and
    /// prepared, however long they take to come.
    pub async fn start(
        session: Arc<Session>,
        workers: &[WorkerName],
        migrate: bool,
        metrics: PrometheusHandle,
    ) -> Result<Self> {
        let mut fleet = Self {
            consume: session.broker("consume"),
            publish: session.broker("publish"),
            health: Health::default(),
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
            http_addr: None,
            admin_addr: None,
            session,
        };
        fleet.open_admin(metrics).await?;
        let intake = fleet.session.intake(&fleet.publish, FRONT_DOOR_CONFIRM_TIMEOUT)?;
        if workers.contains(&WorkerName::Ingester) {
            fleet.open_door(intake.clone()).await?;
        }
        fleet.start_workers(workers.to_vec(), intake, migrate)?;
        Ok(fleet)
    }

    async fn open_admin(&mut self, metrics: PrometheusHandle) -> Result<()> {
        let state = admin::Admin {
            metrics,
            pool: self.session.pool.clone(),
            publish: self.publish.clone(),
            health: self.health.clone(),
            topology: self.session.topology()?,
            measured: admin::Measured::default(),
            stop: self.stop.clone(),
        };
        let (addr, limits) = (self.session.config.admin_addr, Limits::of_admin());
        self.admin_addr = Some(self.serve("admin", addr, admin::routes(state), limits).await?);
        Ok(())
    }

    async fn open_door(&mut self, intake: Intake) -> Result<()> {
        let limits = self.limits()?;
        let access = Arc::new(Access::new(self.session.config.tokens()?, limits.failed_tokens));
        for processor in processors::ALL {
            let has_secret = intake.secrets.0.get(processor.name).is_some_and(|secrets| !secrets.is_empty());
            if !has_secret {
                let variable = format!("BURSAR_{}_WEBHOOK_SECRETS", processor.name.to_uppercase());
                tracing::warn!(
                    processor = processor.name,
                    variable,
                    "door closed: no webhook secret is configured"
                );
            }
        }
        let api = api::routes(self.session.pool.clone(), access.clone());
        let routes = ingester::routes(intake, access, &limits).merge(api);
        self.http_addr = Some(self.serve("http", self.session.config.http_addr, routes, limits).await?);
        Ok(())
    }

    /// Those of the front door, within what the process may open.
    fn limits(&self) -> Result<Limits> {
        let config = &self.session.config;
        let limits = config.http.limits()?;
        let (database, admin) = (config.limits.database_connections, Limits::of_admin().connections);
        let connections =
            descriptors::for_front_door(limits.connections, descriptors::raise(), database, admin);
        Ok(Limits { connections, ..limits })
    }

    async fn serve(
        &mut self,
        what: &'static str,
        addr: SocketAddr,
        routes: axum::Router,
        limits: Limits,
    ) -> Result<SocketAddr> {
        let listener = ingester::listen(addr).with_context(|| {
            format!("listening on {addr} for {what}: is another fleet running? set BURSAR_HTTP_ADDR and BURSAR_ADMIN_ADDR")
        })?;
        let addr = listener.local_addr()?;
        tracing::info!(%addr, what, "listening");
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            ingester::serve(what, listener, routes, limits, stop).await;
            Ok(())
        });
        Ok(addr)
    }

    /// Prepares the servers in the background, then runs the workers until they are asked to stop.
    fn start_workers(&mut self, workers: Vec<WorkerName>, intake: Intake, migrate: bool) -> Result<()> {
        let session = self.session.clone();
        let stop = self.stop.clone();
        let context = bus::Context {
            namespace: session.namespace()?,
            consume: self.consume.clone(),
            publisher: Publisher::spawn(self.publish.clone(), CONFIRM_TIMEOUT),
            pool: session.worker_pool()?,
            health: self.health.clone(),
            ladder: session.config.ladder()?,
            time_limit: bus::TIME_LIMIT,
            stop: stop.clone(),
        };
        self.tasks.spawn(async move {
            let mut running = JoinSet::new();
            let started = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                started = start_all(workers, &session, &context, &intake, migrate, &mut running) => started,
            };
            if started.is_err() {
                stop.cancel();
            }
            started.and(all_ended(&mut running, &stop).await)
        });
        Ok(())
    }

    /// Cancelling it asks everything to stop; batches in hand are settled, requests in hand answered.
    pub fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs until it was stopped, or a part of it cannot go on. Ends with what it had in hand settled.
    pub async fn join(mut self) -> Result<()> {
        let mut outcome = Ok(());
        let stopped = self.stop.clone();
        let deadline = async {
            stopped.cancelled().await;
            tokio::time::sleep(DRAIN_TIMEOUT).await;
        };
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                ended = self.tasks.join_next() => match ended {
                    None => break,
                    Some(Ok(Ok(()))) => {}
                    Some(Ok(Err(error))) => {
                        self.stop.cancel();
                        outcome = Err(error);
                    }
                    Some(Err(error)) => {
                        self.stop.cancel();
                        outcome = Err(anyhow!("a part of the fleet ended by a panic: {error}"));
                    }
                },
                () = &mut deadline => {
                    tracing::warn!(seconds = DRAIN_TIMEOUT.as_secs(), "not drained in time: the rest comes again");
                    break;
                }
            }
        }
        self.consume.close().await;
        self.publish.close().await;
        outcome
    }
}

/// Waits until all have ended. Where one does so by a panic the rest is stopped: a fleet that lacks a part is none, and
/// whoever sees it end starts it anew.
async fn all_ended(running: &mut JoinSet<()>, stop: &CancellationToken) -> Result<()> {
    let mut outcome = Ok(());
    while let Some(ended) = running.join_next().await {
        if let Err(error) = ended {
            stop.cancel();
            outcome = Err(anyhow!("a part of the fleet ended by a panic: {error}"));
        }
    }
    outcome
}

/// Runs one worker's consumers and whatever goes on beside them.
fn start_worker(
    worker: WorkerName,
    session: &Session,
    context: &bus::Context,
    intake: &Intake,
    running: &mut JoinSet<()>,
) -> Result<()> {
    let lanes = session.config.limits.lanes;
    match worker {
        WorkerName::Ingester => {
            running.spawn(bus::run(Arc::new(RawQueue::new(intake.clone())), lanes, context.clone()));
            let publisher = intake.facts.publisher.sibling();
            let (pool, stop) = (intake.facts.pool.clone(), context.stop.clone());
            running.spawn(facts::spool::sweep(pool, publisher, stop));
        }
        WorkerName::Gate => {
            for gate in session.gates()? {
                running.spawn(bus::run(Arc::new(gate), lanes, context.clone()));
            }
            running.spawn(purge(context.pool.clone(), session.config.retention()?, context.stop.clone()));
            if let Some(retention) = session.config.text_retention()? {
                running.spawn(erase_texts(context.pool.clone(), retention, context.stop.clone()));
            }
        }
        WorkerName::Ledger => {
            running.spawn(bus::run(Arc::new(session.ledger()?), lanes, context.clone()));
            running.spawn(sweep(context));
            let every = session.config.expire_every()?;
            running.spawn(expire(session.pool.clone(), intake.facts.clone(), every, context.stop.clone()));
        }
        WorkerName::DeadLetters => {
            let worker = DeadLetters::new(session.config.settings());
            running.spawn(bus::run(Arc::new(worker), lanes, context.clone()));
            let publisher = context.publisher.sibling();
            let (namespace, pool, stop) =
                (context.namespace.clone(), context.pool.clone(), context.stop.clone());
            running.spawn(dead_letters::replay::carry_out(
                namespace,
                session.readers()?,
                pool,
                publisher,
                stop,
            ));
            let retention = session.config.dead_letter_retention()?;
            running.spawn(purge_dead_letters(context.pool.clone(), retention, context.stop.clone()));
            // Told here, whether a ledger runs or not; and by the pool that may read whole tables.
            running.spawn(sweep(context));
            let publisher = context.publisher.sibling();
            let context = bus::Context { publisher, pool: session.pool.clone(), ..context.clone() };
            running.spawn(Watcher::new(context, session.config.alerts()?).run());
        }
    }
    Ok(())
}

/// Publishes what is left in the outbox. Every process of a worker that commits events does.
fn sweep(context: &bus::Context) -> impl Future<Output = ()> + use<> {
    let publisher = context.publisher.sibling();
    bus::outbox::sweep(context.namespace.clone(), context.pool.clone(), publisher, context.stop.clone())
}

/// Looks again and again for lots whose time has come, and states them. Any number of processes may.
async fn expire(pool: db::Pool, facts: FactWriter, every: Duration, stop: CancellationToken) {
    loop {
        match ledger::expiry::pass_once(&pool, &facts, OffsetDateTime::now_utc()).await {
            Ok(0) => {}
            Ok(accounts) => tracing::info!(accounts, "stated lots whose time has come"),
            Err(error) => tracing::warn!(%error, "cannot look for lots whose time has come"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// Deletes raw bodies whose retention is over.
async fn purge(pool: db::Pool, retention: Duration, stop: CancellationToken) {
    loop {
        match purge_some(&pool, retention).await {
            Ok(0) => {}
            Ok(bodies) => tracing::info!(bodies, "purged raw bodies after their retention"),
            Err(error) => tracing::warn!(%error, "cannot purge raw bodies"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PURGE_INTERVAL) => {}
        }
    }
}

/// Erases what strangers wrote into facts, once its retention is over.
async fn erase_texts(pool: db::Pool, retention: Duration, stop: CancellationToken) {
    loop {
        let now = OffsetDateTime::now_utc();
        match gate::erasure::erase_older(&pool, now - retention, now).await {
            Ok(0) => {}
            Ok(facts) => {
                tracing::info!(facts, "erased texts of facts after their retention");
                // There may be more than are erased at a time.
                if !stop.is_cancelled() {
                    continue;
                }
            }
            Err(error) => tracing::warn!(%error, "cannot erase texts of facts"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PURGE_INTERVAL) => {}
        }
    }
}

/// Deletes closed dead letters whose retention is over.
async fn purge_dead_letters(pool: db::Pool, retention: Retention, stop: CancellationToken) {
    loop {
        match dead_letters::purge(&pool, retention, OffsetDateTime::now_utc(), PURGE_AT_ONCE).await {
            Ok(0) => {}
            Ok(letters) => {
                tracing::info!(letters, "purged closed dead letters after their retention");
                // A large replay resolves more at a time than is deleted at a time.
                if !stop.is_cancelled() {
                    continue;
                }
            }
            Err(error) => tracing::warn!(%error, "cannot purge dead letters"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PURGE_INTERVAL) => {}
        }
    }
}

async fn purge_some(pool: &db::Pool, retention: Duration) -> Result<u64, db::Error> {
    let mut connection = pool.acquire().await.doing("taking a connection")?;
    gate::purge(&mut connection, OffsetDateTime::now_utc() - retention, PURGE_AT_ONCE).await
}

/// Starts each worker once what it needs is there, however long that takes: the ingester needs the broker's queues alone,
/// so that raw deliveries flow while Postgres is away; the others need the database's tables too.
async fn start_all(
    workers: Vec<WorkerName>,
    session: &Session,
    context: &bus::Context,
    intake: &Intake,
    migrate: bool,
    running: &mut JoinSet<()>,
) -> Result<()> {
    let (with_database, without): (Vec<_>, Vec<_>) =
        workers.into_iter().partition(|worker| worker.needs_database());
    let topology = async {
        declare(&session.topology()?, &context.consume).await?;
        if without.is_empty() {
            return Ok(());
        }
        // Not as workers that must be gone before anything is migrated.
        let context = bus::Context { pool: session.door_pool()?, ..context.clone() };
        without.iter().try_for_each(|worker| start_worker(*worker, session, &context, intake, running))
    };
    tokio::try_join!(topology, prepare_database(session, migrate))?;
    with_database.iter().try_for_each(|worker| start_worker(*worker, session, context, intake, running))
}

async fn declare(topology: &Topology, broker: &Broker) -> Result<()> {
    let declared = || async { topology.declare(broker).await.map(|()| true) };
    keep_trying("waiting for RabbitMQ", declared, bus::BrokerError::is_transient).await
}

/// Migrates only where something is missing: a role that does not own the tables runs as long as nothing is.
async fn prepare_database(session: &Session, migrate: bool) -> Result<()> {
    let hosts = db::Hosts::read(&session.config.database_url.0, "bursar")?;
    let prepared = || async {
        db::expect_sessions(&hosts).await?;
        let is_ready = db::is_ready(&session.pool).await?;
        if is_ready || !migrate {
            return Ok(is_ready);
        }
        session.migrate(session.config.runtime_role().as_deref()).await.map(|()| true)
    };
    keep_trying("waiting for the database", prepared, db::Error::is_transient).await
}

/// Tries until it is done. Only what will not pass by itself is an error.
async fn keep_trying<T, E>(
    what: &'static str,
    attempt: impl Fn() -> T,
    passes: impl Fn(&E) -> bool,
) -> Result<()>
where
    T: Future<Output = Result<bool, E>>,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut delays = Delays::for_servers();
    loop {
        match attempt().await {
            Ok(true) => return Ok(()),
            Ok(false) => tracing::warn!(
                "{what}: migrations are missing, or not granted to this role; run `bursar migrate` as the tables' owner"
            ),
            Err(error) if passes(&error) => tracing::warn!(%error, "{what}"),
            Err(error) => return Err(error).context(what),
        }
        tokio::time::sleep(delays.next_delay()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_ends_the_fleet() {
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(stop.clone().cancelled_owned());
        running.spawn(async { panic!("a watcher's bug") });
        assert!(all_ended(&mut running, &stop).await.is_err());
        assert!(stop.is_cancelled());
    }
}
