//! The hosts of a database: one, or several of which one can be written.
//!
//! Who fails over is not our business (an operator does, or what watches the servers), but to find where the database went
//! is: of several hosts the first that can be written is taken, whether the one before died, hangs, or came back as a
//! standby. A pool connects to one host at a time, so beside a pool of several a task looks all the time whether its host can
//! still be written, and turns the pool to another where it cannot.

use crate::urls::ServerUrl;
use crate::{Doing, Error, Pool, renewal};
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// A host that has not let us in by then is away: one that hangs must not hold up the others.
const HOST_PATIENCE: Duration = Duration::from_secs(2);

/// How long each host is asked before the next one is asked as well.
const HEAD_START: Duration = Duration::from_millis(100);

/// How often a pool of several hosts is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Between two searches while no host can be written.
const SEARCH_AGAIN: Duration = Duration::from_millis(200);

/// One host has all the time that who connects to it has.
const ALONE_PATIENCE: Duration = Duration::from_secs(60);

/// What a URL may not set, and what is done instead.
const REFUSED: [(&str, &str); 4] = [
    ("target_session_attrs", "of several hosts the first that can be written is taken, always"),
    ("load_balance_hosts", "hosts are taken in the order in which they stand"),
    ("connect_timeout", "each host has 2 s, and the next is asked meanwhile"),
    ("hostaddr", "name hosts before the path: postgres://user:password@first:5432,second:5432/database"),
];

/// Where a database is.
#[derive(Clone)]
pub struct Hosts(Vec<PgConnectOptions>);

impl Hosts {
    /// `name` shows in the server's list of connections.
    pub fn read(url: &SecretString, name: &str) -> Result<Self, Error> {
        let urls = ServerUrl::all(url.expose_secret()).map_err(Error::Url)?;
        urls.iter().try_for_each(|url| refuse(url, urls.len()))?;
        let hosts: Result<Vec<_>, Error> = urls.iter().map(|url| options(url, name)).collect();
        Ok(Self(hosts?))
    }

    /// As many as were named; at least one.
    pub fn all(&self) -> &[PgConnectOptions] {
        &self.0
    }

    /// A connection outside of any pool: to the one host, or of several to the first that can be written.
    pub async fn connect(&self) -> Result<PgConnection, Error> {
        match self.search(0).await {
            Ok((_, connection)) => Ok(connection),
            Err(mut refusals) if refusals.len() == 1 => Err(refusals.remove(0)),
            Err(refusals) => Err(Error::Nowhere(told(&refusals))),
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
    async fn search(&self, from: usize) -> Result<(usize, PgConnection), Vec<Error>> {
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
fn told(refusals: &[Error]) -> String {
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

pub(crate) const CANNOT_BE_WRITTEN: &str =
    "it takes no changes: it is a standby, or default_transaction_read_only is on";

/// Whether the server behind a connection takes changes just now.
pub(crate) async fn takes_changes(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    // No prepared statement: it is asked of whatever the connection leads to.
    let answer: Vec<sqlx::postgres::PgRow> = sqlx::Executor::fetch_all(
        connection,
        sqlx::raw_sql("select 1 where not pg_is_in_recovery() and not current_setting('transaction_read_only')::boolean"),
    )
    .await?;
    Ok(!answer.is_empty())
}

/// Turns a pool to whichever host can be written, until it is closed.
pub(crate) async fn follow(pool: Pool, hosts: Hosts) {
    let mut closed = pool.close_event();
    drop(closed.do_until(follow_always(&pool, &hosts)).await);
}

async fn follow_always(pool: &Pool, hosts: &Hosts) {
    // Nobody's work is done over these connections.
    let watched = Hosts(hosts.0.iter().map(|host| host.clone().application_name("bursar watch")).collect());
    let mut current = 0;
    let mut watch = None;
    loop {
        if !still_writes(&mut watch).await {
            watch = None;
            match watched.search(current).await {
                Ok((found, connection)) => {
                    if found != current {
                        turn(pool, &hosts.0[found]);
                    }
                    (current, watch) = (found, Some(connection));
                }
                Err(refusals) => {
                    tracing::warn!(hosts = told(&refusals), "no host of the database can be written");
                    tokio::time::sleep(SEARCH_AGAIN).await;
                    continue;
                }
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn still_writes(watch: &mut Option<PgConnection>) -> bool {
    let Some(connection) = watch else { return false };
    matches!(tokio::time::timeout(HOST_PATIENCE, takes_changes(connection)).await, Ok(Ok(true)))
}

fn turn(pool: &Pool, host: &PgConnectOptions) {
    tracing::warn!(host = place(host), "the database is written at another host from now on");
    metrics::counter!("bursar_database_moves_total").increment(1);
    pool.set_connect_options(host.clone());
    renewal::renew();
}

/// How often it is looked whether the database moved under something that is under way.
const MOVED_EVERY: Duration = Duration::from_millis(250);

/// Carries something out unless the pool turns to another host meanwhile: an answer of the one before may never come.
pub async fn unless_moved<F: Future>(pool: &Pool, work: F) -> Result<F::Output, Error> {
    let before = pool.connect_options();
    let moved = async {
        let mut look = tokio::time::interval(MOVED_EVERY);
        while Arc::ptr_eq(&before, &pool.connect_options()) {
            look.tick().await;
        }
    };
    tokio::select! {
        biased;
        output = work => Ok(output),
        () = moved => Err(Error::Nowhere("the database moved to another host meanwhile".to_owned())),
    }
}

fn refuse(url: &ServerUrl, hosts: usize) -> Result<(), Error> {
    for (name, value) in url.settings() {
        let is_list = hosts > 1 || value.contains(',') || value.to_ascii_lowercase().contains("%2c");
        if matches!(name, "host" | "port") && is_list {
            let (_, instead) = REFUSED[3];
            return Err(Error::Url(format!("several hosts: expected none as `{name}=`; {instead}")));
        }
        if let Some((name, instead)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            return Err(Error::Url(format!("expected no `{name}=`; take it out: {instead}")));
        }
    }
    Ok(())
}

/// Reads the URL of one host. Encryption is not asked for on this machine's own loopback unless the URL says so: it protects
/// nothing there, and the driver writes each 16 KiB record by itself without TCP_NODELAY, so that every larger statement
/// waits 40 ms for a delayed acknowledgement.
fn options(url: &ServerUrl, name: &str) -> Result<PgConnectOptions, Error> {
    let options: Result<PgConnectOptions, _> = url.text().parse();
    let options = options.map_err(|_| {
        // The driver's own words may quote a piece of the URL.
        let why = "a host, path or parameter that the driver does not read; expected postgres://user:password@host:port/database";
        Error::Url(why.to_owned())
    })?;
    let options = if url.is_ipv6() { options.host(url.host()) } else { options };
    let is_loopback = matches!(options.get_host(), "localhost" | "127.0.0.1" | "::1");
    let options = match options.get_ssl_mode() {
        PgSslMode::Prefer if is_loopback => options.ssl_mode(PgSslMode::Disable),
        _ => options,
    };
    Ok(options.application_name(name).disable_statement_logging())
}

/// A pooler that gives statements of one session to several backends mixes up prepared statements, settings and locks. Two
/// sessions that are open at once never have the same backend, and one never changes it.
pub async fn expect_sessions(hosts: &Hosts) -> Result<(), Error> {
    let mut first = hosts.connect().await?;
    let before = backend(&mut first).await?;
    let mut second = hosts.connect().await?;
    run(&mut second, "begin").await?;
    let meanwhile = backend(&mut second).await?;
    // The second holds a backend now; a pooler may have none left for the first, and lets it wait.
    let after = tokio::time::timeout(HOST_PATIENCE, backend(&mut first)).await;
    run(&mut second, "rollback").await?;
    let after = after.unwrap_or(Ok(before))?;
    let is_pooled = meanwhile == before || after != before;
    drop(tokio::join!(first.close(), second.close()));
    if is_pooled { Err(Error::Pooled) } else { Ok(()) }
}

async fn backend(connection: &mut PgConnection) -> Result<i32, Error> {
    let asked = sqlx::Executor::fetch_one(connection, sqlx::raw_sql("select pg_backend_pid()")).await;
    let row = asked.doing("asking which backend serves a session")?;
    sqlx::Row::try_get(&row, 0).doing("asking which backend serves a session")
}

async fn run(connection: &mut PgConnection, statement: &'static str) -> Result<(), Error> {
    sqlx::raw_sql(statement).execute(connection).await.doing("looking whether a session is one's own")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
