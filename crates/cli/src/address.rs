//! What a server's URL says, read as text: it may name several hosts.

use percent::decoded;

/// The parts of a URL that say where it leads and how. No password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub scheme: String,
    pub user: String,
    /// Without their ports.
    pub hosts: Vec<String>,
    /// Of Postgres the database, of RabbitMQ the vhost.
    pub path: String,
    query: Vec<(String, String)>,
}

impl Address {
    pub fn of(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let query: Vec<(String, String)> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), decoded(value)))
            .collect();
        let named = query.iter().find(|(name, _)| matches!(name.as_str(), "host" | "hostaddr"));
        let hosts = named.map_or(hosts, |(_, hosts)| hosts);
        Some(Self {
            scheme: scheme.to_owned(),
            user: decoded(login.split(':').next().unwrap_or_default()),
            hosts: hosts.split(',').map(host).collect(),
            path: decoded(path),
            query,
        })
    }

    /// The hosts that are reached over a network: neither this machine's loopback nor a socket of its file system.
    pub fn remote(&self) -> Vec<&str> {
        self.hosts.iter().map(String::as_str).filter(|host| !is_local(host)).collect()
    }

    /// The last of the parameters of one of these names.
    pub fn parameter(&self, names: &[&str]) -> Option<&str> {
        let found = self.query.iter().rev().find(|(name, _)| names.contains(&name.as_str()));
        found.map(|(_, value)| value.as_str())
    }
}

fn host(text: &str) -> String {
    let host = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => text.rsplit_once(':').map_or(text, |(host, _)| host),
    };
    decoded(host)
}

fn is_local(host: &str) -> bool {
    let is_loopback =
        |host: &str| host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    host.is_empty() || host.starts_with('/') || host.eq_ignore_ascii_case("localhost") || is_loopback(host)
}

/// Percent-encoding, as far as a URL's login and path need it.
mod percent {
    pub fn decoded(text: &str) -> String {
        let pair = format!("x={}", text.replace('+', "%2B"));
        let decoded = url::form_urlencoded::parse(pair.as_bytes()).next();
        decoded.map_or_else(String::new, |(_, value)| value.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, remote: &[&str]) {
        assert_eq!(Address::of(url).unwrap().remote(), remote, "{url}");
    }

    #[test]
    fn what_is_reached_over_a_network_is_told_from_this_machine() {
        check("postgres://a:b@127.0.0.1:5432/d", &[]);
        check("postgres://a:b@localhost/d", &[]);
        check("postgres://a:b@[::1]:5432/d", &[]);
        check("postgres:///d?host=/var/run/postgresql", &[]);
        check("postgres://a@%2Frun%2Fpostgres/d", &[]);
        check("postgres://a:b%40c@db.example:5432/d?sslmode=require", &["db.example"]);
        check("postgres://a:b@10.0.0.1:5432,127.0.0.1:5433,[fd00::2]/d", &["10.0.0.1", "fd00::2"]);
        check("postgres:///d?host=db.example", &["db.example"]);
        check("amqp://guest:guest@mq", &["mq"]);
    }

    #[test]
    fn a_url_is_read_without_its_password() {
        let address = Address::of("amqps://g%40x:hush@mq:5671/%2fshop?heartbeat=15&heartbeat=5").unwrap();
        assert_eq!(
            (address.scheme.as_str(), address.user.as_str(), address.path.as_str()),
            ("amqps", "g@x", "/shop")
        );
        assert_eq!(address.parameter(&["heartbeat"]), Some("5"));
        assert!(!format!("{address:?}").contains("hush"));
        assert_eq!(Address::of("nonsense"), None);
    }
}
