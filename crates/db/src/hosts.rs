//! The hosts of a database: one, or several of which one can be written.
//!
//! An operator, or whatever watches the servers, decides who fails over. To find where the database went is for us: of several
//! hosts the first that can be written is taken, whether the one before died, hangs, or came back as a standby.

mod options;

use crate::error::Error;
use crate::urls::ServerUrl;
use crate::writable::{CANNOT_BE_WRITTEN, takes_changes};
use options::{options, refuse};
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use std::time::Duration;
use tokio::task::JoinSet;

/// A host that has not let us in by then is away: a host that hangs must not hold up the others.
pub(crate) const HOST_PATIENCE: Duration = Duration::from_secs(2);

/// How long each host is asked before the next one is asked as well.
const HEAD_START: Duration = Duration::from_millis(100);

/// How long to wait for a single host: its callers have limits of their own.
const ALONE_PATIENCE: Duration = Duration::from_secs(60);

/// Where a database is.
#[derive(Clone)]
pub struct Hosts(Vec<PgConnectOptions>);

impl Hosts {
    /// Reads a URL. `name` shows in the server's list of connections.
    ///
    /// # Errors
    /// [`Error::Url`] where the URL cannot be read, or sets what is set here.
    pub fn read(url: &SecretString, name: &str) -> Result<Self, Error> {
        let urls = ServerUrl::all(url.expose_secret()).map_err(Error::Url)?;
        urls.iter().try_for_each(|url| refuse(url, urls.len()))?;
        let hosts: Result<Vec<_>, Error> = urls.iter().map(|url| options(url, name)).collect();
        Ok(Self(hosts?))
    }

    /// The same hosts, where the connections bear another name.
    pub(crate) fn named(&self, name: &str) -> Self {
        Self(self.0.iter().map(|host| host.clone().application_name(name)).collect())
    }

    /// As many as were named; at least one.
    pub fn all(&self) -> &[PgConnectOptions] {
        &self.0
    }

    /// A connection outside of any pool: to the one host, or of several to the first that can be written.
    ///
    /// # Errors
    /// [`Error::Away`] if the only host does not let us in, [`Error::Nowhere`] if none of several does and can be written.
    pub async fn connect(&self) -> Result<PgConnection, Error> {
        match self.search(0).await {
            Ok((_, connection)) => Ok(connection),
            Err(mut refusals) if refusals.len() == 1 => Err(refusals.remove(0)),
            Err(refusals) => Err(Error::Nowhere(reasons(&refusals))),
        }
    }

    /// Each host by itself: where it is, and whether it takes changes, or why it does not let us in.
    pub async fn survey(&self) -> Vec<(String, Result<bool, Error>)> {
        let mut found = Vec::new();
        for host in &self.0 {
            let asked = async {
                takes_changes(&mut host.connect().await.map_err(Error::Away)?).await.map_err(Error::Away)
            };
            let asked = tokio::time::timeout(HOST_PATIENCE, asked).await;
            let silent = Error::Silent { doing: "connecting", limit: HOST_PATIENCE };
            found.push((place(host), asked.unwrap_or(Err(silent))));
        }
        found
    }

    /// Asks each host, beginning with one of them, and takes the first that lets us in and can be written. The errors are in
    /// the order of the hosts.
    pub(crate) async fn search(&self, from: usize) -> Result<(usize, PgConnection), Vec<Error>> {
        let count = self.0.len();
        let mut asked = JoinSet::new();
        for turn in 0..count {
            let number = (from + turn) % count;
            let host = self.0[number].clone();
            asked.spawn(async move {
                tokio::time::sleep(HEAD_START * turn as u32).await;
                (number, enter(&host, count > 1).await)
            });
        }
        let mut refusals = Vec::new();
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok((number, Ok(connection))) => return Ok((number, connection)),
                Ok((number, Err(error))) => refusals.push((number, error)),
                // Only a panic of the driver ends so.
                Err(error) => refusals.push((count, Error::Nowhere(error.to_string()))),
            }
        }
        refusals.sort_by_key(|(number, _)| *number);
        Err(refusals.into_iter().map(|(_, error)| error).collect())
    }
}

/// Each reason once.
pub(crate) fn reasons(refusals: &[Error]) -> String {
    refusals.iter().map(Error::to_string).collect::<Vec<_>>().join("; ")
}

/// Where a host is, for people.
pub fn place(host: &PgConnectOptions) -> String {
    match host.get_socket() {
        Some(socket) => format!("{}/.s.PGSQL.{}", socket.display(), host.get_port()),
        None if host.get_host().contains(':') => format!("[{}]:{}", host.get_host(), host.get_port()),
        None => format!("{}:{}", host.get_host(), host.get_port()),
    }
}

async fn enter(host: &PgConnectOptions, must_write: bool) -> Result<PgConnection, Error> {
    let entered = async {
        let mut connection = host.connect().await?;
        let is_refused = must_write && !takes_changes(&mut connection).await?;
        Ok::<_, sqlx::Error>((!is_refused).then_some(connection))
    };
    let patience = if must_write { HOST_PATIENCE } else { ALONE_PATIENCE };
    match tokio::time::timeout(patience, entered).await {
        Ok(Ok(Some(connection))) => Ok(connection),
        Ok(Ok(None)) => Err(Error::Nowhere(format!("{}: {CANNOT_BE_WRITTEN}", place(host)))),
        Ok(Err(error)) if must_write => Err(Error::Nowhere(format!("{}: {error}", place(host)))),
        Ok(Err(error)) => Err(Error::Away(error)),
        Err(_) => Err(Error::Nowhere(format!("{}: no answer within {} s", place(host), patience.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::postgres::PgSslMode;

    fn read(url: &str) -> Result<Hosts, Error> {
        Hosts::read(&SecretString::from(url), "a test")
    }

    #[test]
    fn a_list_of_hosts_is_read_with_the_rule_for_encryption_at_each() {
        let hosts = read("postgres://ada:hush@127.0.0.1:5433,[::1],db.example,10.0.0.1:7/shop").unwrap();
        let places: Vec<String> = hosts.all().iter().map(place).collect();
        assert_eq!(places, ["127.0.0.1:5433", "[::1]:5432", "db.example:5432", "10.0.0.1:7"]);
        let modes: Vec<bool> =
            hosts.all().iter().map(|host| matches!(host.get_ssl_mode(), PgSslMode::Disable)).collect();
        assert_eq!(modes, [true, true, false, false]);
        assert!(hosts.all().iter().all(|host| host.get_database() == Some("shop")));
        let asked = read("postgres://127.0.0.1,10.0.0.1/shop?sslmode=verify-full").unwrap();
        assert!(asked.all().iter().all(|host| matches!(host.get_ssl_mode(), PgSslMode::VerifyFull)));
    }

    #[test]
    fn what_chooses_hosts_otherwise_is_refused_with_what_to_do() {
        for (query, part) in [
            (
                "target_session_attrs=read-write",
                "take it out: of several hosts the first that can be written",
            ),
            ("sslmode=require&load_balance_hosts=random", "take it out"),
            ("connect_timeout=10", "take it out"),
            ("hostaddr=10.0.0.1", "name hosts before the path"),
            ("host=one,two", "name hosts before the path"),
            ("host=one%2Ctwo", "name hosts before the path"),
        ] {
            let why = read(&format!("postgres://ada:hush@one/shop?{query}")).err().unwrap().to_string();
            assert!(why.contains(part) && !why.contains("hush"), "{query}: {why}");
        }
        assert!(read("postgres://one,two/shop?host=/tmp").is_err());
        assert!(read("postgres:///shop?host=/tmp").is_ok());
    }
}
