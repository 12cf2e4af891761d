//! A database and a namespace of one's own, for commands that must not touch the deployment's: `demo` and `bench`.

use crate::config::{Config, Masked};
use crate::session::Session;
use anyhow::{Context, Result, anyhow};
use db::{PgConnection, ServerUrl};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, Executor};

pub struct Scratch {
    /// The URL of a database that exists: from there the scratch database is made and dropped.
    server: Vec<ServerUrl>,
    pub database: String,
    pub config: Config,
}

impl Scratch {
    /// Makes a database on the configured server and names a namespace after it. `like` is the configuration to start
    /// from; its database is not touched.
    pub async fn make(purpose: &str, like: Config) -> Result<Self> {
        let configured = ServerUrl::all(like.database_url.0.expose_secret())
            .map_err(|why| anyhow!("the database URL: {why}"))?;
        let name: String = uuid::Uuid::now_v7().simple().to_string().chars().skip(20).collect();
        let database = format!("bursar_{purpose}_{name}");
        let (server, mut connection) = reachable(&configured).await?;
        // The name holds only letters, digits and underscores, made just above.
        connection.execute(AssertSqlSafe(format!("create database {database}"))).await.with_context(
            || format!("making the database {database}: the login must be allowed to create databases"),
        )?;
        let url = ServerUrl::joined(&with_path(&server, &database));
        let config =
            Config { database_url: Masked::new(url), namespace: format!("bursar-{purpose}-{name}"), ..like };
        Ok(Self { server, database, config })
    }

    /// Removes the database and everything in the namespace.
    pub async fn remove(self, session: &Session) -> Result<()> {
        session.pool.close().await;
        let broker = session.broker("clean up");
        let removed = session.topology()?.delete(&broker).await;
        broker.close().await;
        let mut connection = connect(&self.server).await?;
        let database = self.database;
        connection.execute(AssertSqlSafe(format!("drop database if exists {database} with (force)"))).await?;
        removed.context("removing the broker's objects")
    }
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
