//! The fleet in one process: any set of workers, their doors, and how they stop.

use crate::admin;
use crate::api;
use crate::descriptors;
use crate::session::{CONFIRM_TIMEOUT, Session};
use crate::workers::Worker;
use anyhow::{Context, Result, anyhow};
use bus::{Broker, Delays, Health, Publisher, Topology};
use db::Doing;
use ingester::{Access, DoorLimits, Intake};
use jobs::{Floor, Member, Needs};
use metrics_exporter_prometheus::PrometheusHandle;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The answer to a webhook must not wait longer for RabbitMQ than this before Postgres is tried.
const FRONT_DOOR_CONFIRM_TIMEOUT: Duration = Duration::from_millis(1500);

/// What is not settled this long after it was asked to stop is left to its next start.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(40);

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
        workers: &[Worker],
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
        let floor = fleet.floor()?;
        if workers.iter().any(|worker| worker.spec.needs == Needs::Door) {
            fleet.open_door(fleet.session.config.intake(floor.writer.clone())?).await?;
        }
        fleet.start_workers(workers.to_vec(), floor, migrate)?;
        Ok(fleet)
    }

    /// What the workers are given. Those that do without the database's tables are given another pool.
    fn floor(&self) -> Result<Floor> {
        let publisher = Publisher::spawn(self.publish.clone(), CONFIRM_TIMEOUT);
        let writer = self.session.fact_writer(&self.publish, FRONT_DOOR_CONFIRM_TIMEOUT)?;
        self.session.floor(self.consume.clone(), publisher, writer)
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
        let (addr, limits) = (self.session.config.admin_addr, DoorLimits::of_admin());
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
    fn limits(&self) -> Result<DoorLimits> {
        let config = &self.session.config;
        let limits = config.http.limits()?;
        let (database, admin) = (config.limits.database_connections, DoorLimits::of_admin().connections);
        let connections =
            descriptors::for_front_door(limits.connections, descriptors::raise(), database, admin);
        Ok(DoorLimits { connections, ..limits })
    }

    async fn serve(
        &mut self,
        what: &'static str,
        addr: SocketAddr,
        routes: axum::Router,
        limits: DoorLimits,
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
    fn start_workers(&mut self, workers: Vec<Worker>, floor: Floor, migrate: bool) -> Result<()> {
        let session = self.session.clone();
        let stop = self.stop.clone();
        let context = bus::Context {
            namespace: floor.namespace.clone(),
            consume: floor.consume.clone(),
            publisher: floor.publisher.clone(),
            pool: floor.pool.clone(),
            health: self.health.clone(),
            ladder: session.config.ladder()?,
            time_limit: bus::TIME_LIMIT,
            stop: stop.clone(),
        };
        self.tasks.spawn(async move {
            let mut running = JoinSet::new();
            let started = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                started = start_all(workers, &session, &context, &floor, migrate, &mut running) => started,
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

/// Runs everything of some workers.
fn run_members(
    workers: &[Worker],
    session: &Session,
    context: &bus::Context,
    floor: &Floor,
    running: &mut JoinSet<()>,
) -> Result<()> {
    let mut emits = false;
    for worker in workers {
        let member = worker.member(&session.config, floor)?;
        emits |= member.emits;
        for part in member.run(session.config.limits.lanes, context, &session.pool) {
            running.spawn(part);
        }
    }
    if emits {
        running.spawn(Member::publish_left(context).run(context.stop.clone()));
    }
    Ok(())
}

/// Starts each worker once what it needs is there, however long that takes: some need the broker's queues alone, so that
/// raw deliveries flow while Postgres is away; the others need the database's tables too.
async fn start_all(
    workers: Vec<Worker>,
    session: &Session,
    context: &bus::Context,
    floor: &Floor,
    migrate: bool,
    running: &mut JoinSet<()>,
) -> Result<()> {
    let (with_database, without): (Vec<_>, Vec<_>) =
        workers.into_iter().partition(|worker| worker.spec.needs == Needs::Database);
    let topology = async {
        declare(&session.topology()?, &context.consume).await?;
        if without.is_empty() {
            return Ok(());
        }
        // Not as workers that must be gone before anything is migrated.
        let pool = session.door_pool()?;
        let (context, floor) =
            (bus::Context { pool: pool.clone(), ..context.clone() }, Floor { pool, ..floor.clone() });
        run_members(&without, session, &context, &floor, running)
    };
    tokio::try_join!(topology, prepare_database(session, migrate))?;
    // Their queues are bound: what is admitted from now on reaches them, and the rest can be handed over.
    let known = || async {
        let mut connection = floor.whole.acquire().await.doing("taking a connection")?;
        facts::readers_known(&mut connection, &floor.readers, OffsetDateTime::now_utc()).await.map(|()| true)
    };
    keep_trying("writing down who reads which facts", known, db::Error::is_transient).await?;
    run_members(&with_database, session, context, floor, running)
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
