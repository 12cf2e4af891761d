//! A database and a namespace of one's own, for commands that must not touch the deployment's: `demo` and `bench`.

use crate::config::{Config, Masked};
use crate::output::warn;
use crate::session::Session;
use anyhow::{Context, Result, anyhow};
use db::{PgConnection, ServerUrl};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, Executor};

pub struct Scratch {
    /// The URL of a database that exists: from there the scratch database is made and dropped.
    server: Vec<ServerUrl>,
    pub database: String,
    /// Made for the fleet, besides the login that owns the database.
    role: Option<String>,
    pub config: Config,
}

impl Scratch {
    /// Makes a database on the configured server and names a namespace after it. `like` is the configuration to start
    /// from; its database is not touched.
    pub async fn make(purpose: &str, like: Config) -> Result<Self> {
        let configured = ServerUrl::all(like.owner_url().expose_secret())
            .map_err(|why| anyhow!("the database URL: {why}"))?;
        let name: String = uuid::Uuid::now_v7().simple().to_string().chars().skip(20).collect();
        let database = format!("bursar_{purpose}_{name}");
        let (server, mut connection) = reachable(&configured).await?;
        // The name holds only letters, digits and underscores, made just above.
        connection.execute(AssertSqlSafe(format!("create database {database}"))).await.with_context(
            || format!("making the database {database}: the login must be allowed to create databases"),
        )?;
        let url = ServerUrl::joined(&with_path(&server, &database));
        let config = Config {
            database_url: Masked::new(url),
            migrate_url: None,
            namespace: format!("bursar-{purpose}-{name}"),
            ..like
        };
        Ok(Self { server, database, role: None, config })
    }

    /// Has the fleet run as a role of its own, which owns nothing: the login that made the database owns its tables and
    /// migrates. Where that login may not make roles it is one for all, as before.
    pub async fn with_two_roles(mut self) -> Result<Self> {
        let mut connection = connect(&self.server).await?;
        if !db::roles::may_create_roles(&mut connection).await? {
            warn("this login may not create roles: the fleet runs as the owner of its tables");
            return Ok(self);
        }
        let (role, password) = (format!("{}_fleet", self.database), uuid::Uuid::now_v7().simple());
        // Names and password hold only letters, digits and underscores.
        let made = format!("create role {role} login password '{password}'");
        if let Err(error) = connection.execute(AssertSqlSafe(made)).await {
            drop_database(&mut connection, &self.database).await?;
            return Err(error).context("making a role for the fleet");
        }
        let owner = with_path(&self.server, &self.database);
        let runs: Vec<ServerUrl> =
            owner.iter().map(|url| url.with_login(&role, &password.to_string())).collect();
        self.config = Config {
            database_url: Masked::new(ServerUrl::joined(&runs)),
            migrate_url: Some(Masked::new(ServerUrl::joined(&owner))),
            ..self.config
        };
        self.role = Some(role);
        Ok(self)
    }

    /// Removes the database and everything in the namespace.
    pub async fn remove(self, session: &Session) -> Result<()> {
        session.pool.close().await;
        let broker = session.broker("clean up");
        let removed = session.topology()?.delete(&broker).await;
        broker.close().await;
        let mut connection = connect(&self.server).await?;
        drop_database(&mut connection, &self.database).await?;
        if let Some(role) = self.role {
            connection.execute(AssertSqlSafe(format!("drop role if exists {role}"))).await?;
        }
        removed.context("removing the broker's objects")
    }
}

async fn drop_database(connection: &mut PgConnection, database: &str) -> Result<()> {
    connection.execute(AssertSqlSafe(format!("drop database if exists {database} with (force)"))).await?;
    Ok(())
}

/// What a process of this binary is told of a scratch database, whatever this one's environment says of another.
pub fn environment(config: &Config) -> [(&'static str, &str); 9] {
    let owner = config.migrate_url.as_ref().map_or("", |url| url.0.expose_secret());
    [
        ("BURSAR_DATABASE_URL", config.database_url.0.expose_secret()),
        ("BURSAR_DATABASE_URL_FILE", ""),
        ("BURSAR_MIGRATE_URL", owner),
        ("BURSAR_MIGRATE_URL_FILE", ""),
        ("BURSAR_AMQP_URL", config.amqp_url.0.expose_secret()),
        ("BURSAR_AMQP_URL_FILE", ""),
        ("BURSAR_NAMESPACE", &config.namespace),
        // Nothing that happens there is told to a processor.
        ("BURSAR_STRIPE_API_KEY", ""),
        ("BURSAR_STRIPE_API_KEY_FILE", ""),
    ]
}

/// The configured database where it exists, else the server's own.
async fn reachable(configured: &[ServerUrl]) -> Result<(Vec<ServerUrl>, PgConnection)> {
    let own = ["postgres", "template1"].map(|database| with_path(configured, database));
    let mut why = String::new();
    for candidate in std::iter::once(configured.to_vec()).chain(own) {
        match connect(&candidate).await {
            Ok(connection) => return Ok((candidate, connection)),
            Err(error) => why = error.to_string(),
        }
    }
    Err(anyhow!(
        "no Postgres answers at {configured:?} ({why}): set BURSAR_DATABASE_URL, or run deploy/demo.sh"
    ))
}

fn with_path(urls: &[ServerUrl], database: &str) -> Vec<ServerUrl> {
    urls.iter().map(|url| url.with_path(database)).collect()
}

async fn connect(urls: &[ServerUrl]) -> Result<PgConnection, db::Error> {
    db::Hosts::read(&SecretString::from(ServerUrl::joined(urls)), "bursar")?.connect().await
}
