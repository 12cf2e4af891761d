//! The hosts of the broker: the nodes of one cluster, taken in turn.

use crate::error::BrokerError;
use crate::wire;
use db::ServerUrl;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A broker that does not answer within this is away.
const ALONE_PATIENCE: Duration = Duration::from_secs(5);

/// Of several hosts each has so long.
const HOST_PATIENCE: Duration = Duration::from_secs(3);

/// The server's default of 60 s would notice a broken line too late.
const HEARTBEAT_SECONDS: u16 = 15;

/// Where RabbitMQ is: at least one host. Clones remember together which one serves.
#[derive(Clone)]
pub struct BrokerHosts {
    uris: Arc<[AMQPUri]>,
    /// The number of whom to ask first: the one that served last, until it failed.
    turn: Arc<AtomicUsize>,
}

impl BrokerHosts {
    /// Reads `amqp://user:password@first:5672,second:5672/vhost`, or whole URLs separated by commas.
    ///
    /// # Errors
    /// What was expected, without a piece of the URL.
    pub fn parse(url: &str) -> Result<Self, String> {
        let urls = ServerUrl::all(url).map_err(|why| format!("{why}; expected {FORM}"))?;
        let uris: Result<Arc<[_]>, _> = urls.iter().map(uri).collect();
        Ok(Self { uris: uris?, turn: Arc::default() })
    }

    /// Where each is, with vhost and user, for people.
    pub fn places(&self) -> String {
        let all: Vec<String> = self.uris.iter().map(place).collect();
        let first = &self.uris[0];
        let vhost = if first.vhost.is_empty() { "/" } else { &first.vhost };
        format!("{} (vhost {vhost}, user {})", all.join(", "), first.authority.userinfo.username)
    }

    /// One connection, to the first that lets us in, and the host's number for [`BrokerHosts::pass_over`].
    pub(crate) async fn connect(&self, name: &str) -> Result<(usize, Connection), BrokerError> {
        let count = self.uris.len();
        let first = self.turn.load(Ordering::Relaxed);
        let mut refusals = Vec::new();
        for number in (0..count).map(|turn| (first + turn) % count) {
            match enter(&self.uris[number], name, count).await {
                Ok(connection) => {
                    self.turn.store(number, Ordering::Relaxed);
                    return Ok((number, connection));
                }
                Err(error) if count == 1 => return Err(error),
                Err(error) => refusals.push((number, error)),
            }
        }
        let passes = refusals.iter().any(|(_, error)| error.is_transient());
        let reasons =
            refusals.iter().map(|(number, error)| format!("{}: {error}", place(&self.uris[*number])));
        Err(BrokerError::Nowhere { reasons: reasons.collect::<Vec<_>>().join("; "), passes })
    }

    /// This host failed: it is asked last from now on. A second connection that loses the same host changes nothing, else the
    /// dead host would be the first again.
    pub(crate) fn pass_over(&self, failed: usize) {
        let next = (failed + 1) % self.uris.len();
        // Unchanged where another has passed it over, or has found one that serves.
        let _ = self.turn.compare_exchange(failed, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

const FORM: &str = "amqp://user:password@host:port/vhost, several hosts separated by commas";

/// Errors quote nothing of the URL: see [`ServerUrl`].
fn uri(url: &ServerUrl) -> Result<AMQPUri, String> {
    if !["amqp", "amqps"].contains(&url.scheme()) {
        return Err(format!("expected the scheme amqp or amqps, got another; expected {FORM}"));
    }
    let uri: Result<AMQPUri, String> = url.text().parse();
    let mut uri = uri.map_err(|_| {
        format!("a host, path or parameter that the client of RabbitMQ does not read; expected {FORM}")
    })?;
    // The client reads an IPv6 address as no host at all, and would take its own machine.
    uri.authority.host = url.host().to_owned();
    if uri.authority.host.is_empty() {
        "localhost".clone_into(&mut uri.authority.host);
    }
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    Ok(uri)
}

fn place(uri: &AMQPUri) -> String {
    let (host, port) = (&uri.authority.host, uri.authority.port);
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

async fn enter(uri: &AMQPUri, name: &str, hosts: usize) -> Result<Connection, BrokerError> {
    let properties = ConnectionProperties::default()
        .with_connection_name(name.into())
        // One attempt: when to try again is decided by whoever needs the connection.
        .configure_backoff(|backoff| backoff.with_max_times(0));
    let patience = if hosts == 1 { ALONE_PATIENCE } else { HOST_PATIENCE };
    let connecting = wire::connect(uri.clone(), properties);
    let connected = tokio::time::timeout(patience, connecting).await;
    Ok(connected.map_err(|_| BrokerError::Timeout(patience))??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_in_their_order_with_ports_by_the_scheme_and_ipv6_as_it_is() {
        let hosts =
            BrokerHosts::parse("amqps://ada:hush@one,[2001:db8::1],three:7/shop?heartbeat=5").unwrap();
        assert_eq!(hosts.places(), "one:5671, [2001:db8::1]:5671, three:7 (vhost shop, user ada)");
        assert!(hosts.uris.iter().all(|uri| uri.query.heartbeat == Some(5)));
        let hosts = BrokerHosts::parse("amqp://one/%2f,amqp://localhost:5673/%2f").unwrap();
        assert_eq!(hosts.places(), "one:5672, localhost:5673 (vhost /, user guest)");
        assert!(hosts.uris.iter().all(|uri| uri.query.heartbeat == Some(HEARTBEAT_SECONDS)));
    }

    #[test]
    fn a_host_that_two_connections_lose_is_passed_over_once() {
        let hosts = BrokerHosts::parse("amqp://one,two,three/x").unwrap();
        let clone = hosts.clone();
        let first = || hosts.turn.load(Ordering::Relaxed);
        hosts.pass_over(0);
        clone.pass_over(0);
        assert_eq!(first(), 1);
        clone.pass_over(1);
        hosts.pass_over(1);
        clone.pass_over(0);
        assert_eq!(first(), 2);
        hosts.pass_over(2);
        assert_eq!(first(), 0);
        let alone = BrokerHosts::parse("amqp://one/x").unwrap();
        alone.pass_over(0);
        assert_eq!(alone.turn.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_cannot_be_read_says_what_was_expected_and_no_password() {
        for url in [
            "amqp://ada:hush@one,,two/x",
            "http://ada:hush@one,two/x",
            "localhost:5672",
            "amqp://ada:1234/hush@one/x",
            "hush://ada:hush@one/x",
            "amqp://one/x?heartbeat=hush",
            "amqp://one/x?auth_mechanism=hush",
        ] {
            let why = BrokerHosts::parse(url).err().unwrap();
            assert!(why.contains("expected amqp://user:password@host") && !why.contains("hush"), "{why}");
        }
    }
}
