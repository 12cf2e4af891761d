//! What every command works with.

use crate::config::Config;
use crate::servers::Servers;
use crate::workers;
use anyhow::Result;
use bus::{Broker, Namespace, Publisher, Topology};
use db::processes::{DOORS, WORKERS};
use facts::{FactWriter, Readers};
use ingester::Intake;
use jobs::Floor;
use std::time::Duration;

/// A publisher of the fleet's own hops waits this long for a confirm before it leaves its channel.
pub const CONFIRM_TIMEOUT: Duration = Duration::from_secs(20);

/// The owner's connections: one command, one at a time; the migrator holds a lock on a second.
const OWNER_CONNECTIONS: u32 = 2;

pub struct Session {
    pub config: Config,
    /// One JSON document on stdout instead of text for people.
    pub json: bool,
    pub pool: db::Pool,
}

impl Session {
    pub fn new(config: Config, json: bool) -> Result<Self> {
        let pool = db::pool(&config.database_url.0, config.limits.database_connections, "bursar")?;
        Ok(Self { config, json, pool })
    }

    pub fn servers(&self) -> Servers {
        Servers {
            database_url: self.config.database_url.0.clone(),
            database_variable: "BURSAR_DATABASE_URL",
            amqp_url: self.config.amqp_url.0.clone(),
        }
    }

    /// As seen by the role that owns the tables.
    pub fn owner_servers(&self) -> Servers {
        let database_url = self.config.owner_url().clone();
        let database_variable =
            if self.config.migrate_url.is_some() { "BURSAR_MIGRATE_URL" } else { "BURSAR_DATABASE_URL" };
        Servers { database_url, database_variable, ..self.servers() }
    }

    /// The pool of the fleet's workers; the commands' own may read whole tables.
    pub fn worker_pool(&self) -> Result<db::Pool> {
        self.pool_of(WORKERS)
    }

    /// The pool of workers that do without the database's tables: they run while it is migrated.
    pub fn door_pool(&self) -> Result<db::Pool> {
        self.pool_of(DOORS)
    }

    fn pool_of(&self, whose: &str) -> Result<db::Pool> {
        let config = &self.config;
        let name = format!("{whose}{}", config.digest());
        Ok(db::worker_pool(&config.database_url.0, config.limits.database_connections, &name)?)
    }

    /// The pool of the role that owns the tables: it migrates, and makes room for a rebuild.
    pub fn owner_pool(&self) -> Result<db::Pool> {
        Ok(db::pool(self.config.owner_url(), OWNER_CONNECTIONS, "bursar owner")?)
    }

    /// Brings the tables to what this version needs, as their owner, and grants them to the role that runs, if that is
    /// another one.
    pub async fn migrate(&self, runtime: Option<&str>) -> Result<(), db::Error> {
        let owner = db::pool(self.config.owner_url(), OWNER_CONNECTIONS, "bursar migrate")?;
        db::migrate(&owner).await?;
        if let Some(role) = runtime {
            db::roles::grant(&owner, role).await?;
        }
        owner.close().await;
        Ok(())
    }

    /// Whether workers are at work that decide by another configuration, or are of another version, than this command.
    pub async fn fleet_differs(&self) -> Result<bool> {
        let digest = self.config.digest();
        let mut names = db::processes::connected(&self.pool, WORKERS).await?;
        names.extend(db::processes::connected(&self.pool, DOORS).await?);
        Ok(names.iter().any(|name| !name.ends_with(&digest)))
    }

    pub fn namespace(&self) -> Result<Namespace> {
        self.config.namespace()
    }

    /// Every broker object of the fleet as it is configured.
    pub fn topology(&self) -> Result<Topology> {
        Ok(Topology::new(&self.namespace()?, &self.config.ladder()?, &workers::queues()))
    }

    /// The workers that read admitted facts.
    pub fn readers(&self) -> Result<Readers> {
        Ok(Readers::of(&self.topology()?, &self.namespace()?))
    }

    pub fn broker(&self, purpose: &str) -> Broker {
        Broker::new(self.config.amqp_url.0.clone(), &format!("{} {purpose}", self.config.namespace))
    }

    /// What states facts durably, for whoever states some.
    pub fn fact_writer(&self, broker: &Broker, confirm_timeout: Duration) -> Result<FactWriter> {
        Ok(FactWriter {
            namespace: self.namespace()?,
            publisher: Publisher::spawn(broker.clone(), confirm_timeout),
            pool: self.pool.clone(),
        })
    }

    /// What the front door does with a delivery.
    pub fn intake(&self, broker: &Broker, confirm_timeout: Duration) -> Result<Intake> {
        self.config.intake(self.fact_writer(broker, confirm_timeout)?)
    }

    /// What workers are given that consume by this broker, publish by this publisher and state facts by this writer.
    pub fn floor(&self, consume: Broker, publisher: Publisher, writer: FactWriter) -> Result<Floor> {
        Ok(Floor {
            namespace: self.namespace()?,
            readers: self.readers()?,
            workers: &workers::NAMES,
            consume,
            publisher,
            writer,
            pool: self.worker_pool()?,
            whole: self.pool.clone(),
            settings: self.config.settings(),
        })
    }

    /// The floor of workers that are asked and not run: nothing is published through it.
    pub fn idle_floor(&self, purpose: &str) -> Result<Floor> {
        let broker = self.broker(purpose);
        let publisher = Publisher::spawn(broker.clone(), CONFIRM_TIMEOUT);
        let writer = self.fact_writer(&broker, CONFIRM_TIMEOUT)?;
        self.floor(broker, publisher, writer)
    }
}
