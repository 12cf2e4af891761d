//! A database and a namespace of one's own, for commands that must not touch the deployment's: `demo` and `bench`.

use crate::config::{Config, Masked};
use crate::session::Session;
use anyhow::{Context, Result};
use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use url::Url;

pub struct Scratch {
    /// The URL of a database that exists: from there the scratch database is made and dropped.
    server: Url,
    pub database: String,
    pub config: Config,
}

impl Scratch {
    /// Makes a database on the configured server and names a namespace after it. `like` is the configuration to start
    /// from; its database is not touched.
    pub async fn make(purpose: &str, like: Config) -> Result<Self> {
        let configured = Url::parse(like.database_url.0.expose_secret()).context("the database URL")?;
        let name: String = uuid::Uuid::now_v7().simple().to_string().chars().skip(20).collect();
        let database = format!("bursar_{purpose}_{name}");
        let server = reachable(&configured).await?;
        let mut connection = PgConnection::connect(server.as_str()).await?;
        // The name holds only letters, digits and underscores, made just above.
        connection.execute(AssertSqlSafe(format!("create database {database}"))).await.with_context(
            || format!("making the database {database}: the login must be allowed to create databases"),
        )?;
        let mut url = server.clone();
        url.set_path(&database);
        let config = Config {
            database_url: Masked::new(url.as_str()),
            namespace: format!("bursar-{purpose}-{name}"),
            ..like
        };
        Ok(Self { server, database, config })
    }

    /// Removes the database and everything in the namespace.
    pub async fn remove(self, session: &Session) -> Result<()> {
        session.pool.close().await;
        let broker = session.broker("clean up");
        let removed = session.topology()?.delete(&broker).await;
        broker.close().await;
        let mut connection = PgConnection::connect(self.server.as_str()).await?;
        let database = self.database;
        connection.execute(AssertSqlSafe(format!("drop database if exists {database} with (force)"))).await?;
        removed.context("removing the broker's objects")
    }
}

/// The configured database where it exists, else the server's own.
async fn reachable(configured: &Url) -> Result<Url> {
    let mut candidates = vec![configured.clone()];
    for database in ["postgres", "template1"] {
        let mut url = configured.clone();
        url.set_path(database);
        candidates.push(url);
    }
    let mut why = None;
    for url in candidates {
        match PgConnection::connect(url.as_str()).await {
            Ok(connection) => {
                drop(connection.close().await);
                return Ok(url);
            }
            Err(error) => why = Some(error),
        }
    }
    Err(anyhow::anyhow!(
        "no Postgres answers at {}:{} ({}): set BURSAR_DATABASE_URL, or run deploy/demo.sh",
        configured.host_str().unwrap_or("?"),
        configured.port().unwrap_or(5432),
        why.map(|error| error.to_string()).unwrap_or_default()
    ))
}
