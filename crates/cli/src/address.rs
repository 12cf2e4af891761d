//! What a server's URL says, for those who judge it: of each host that it names.

use db::ServerUrl;

/// Where one URL leads, and how. No password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub scheme: String,
    pub user: String,
    /// Without its port.
    pub host: String,
    /// Of Postgres the database, of RabbitMQ the vhost.
    pub path: String,
    query: Vec<(String, String)>,
}

impl Address {
    /// Of each host that a text names; of none where it cannot be read.
    pub fn each(urls: &str) -> Vec<Self> {
        let urls = ServerUrl::all(urls).unwrap_or_default();
        urls.iter().flat_map(Self::of).collect()
    }

    /// Postgres' driver lets the query name the host, or several.
    fn of(url: &ServerUrl) -> Vec<Self> {
        let query: Vec<(String, String)> =
            url.settings().map(|(name, value)| (name.to_owned(), decoded(value))).collect();
        let named = query.iter().find(|(name, _)| matches!(name.as_str(), "host" | "hostaddr"));
        let hosts = named.map_or_else(|| decoded(url.host()), |(_, hosts)| hosts.clone());
        let at = |host: &str| Self {
            scheme: url.scheme().to_owned(),
            user: decoded(url.user()),
            host: host.to_owned(),
            path: decoded(url.path()),
            query: query.clone(),
        };
        hosts.split(',').map(at).collect()
    }

    /// Reached over a network: neither this machine's loopback nor a socket of its file system.
    pub fn is_remote(&self) -> bool {
        !is_local(&self.host)
    }

    /// The last of the parameters of one of these names.
    pub fn parameter(&self, names: &[&str]) -> Option<&str> {
        let found = self.query.iter().rev().find(|(name, _)| names.contains(&name.as_str()));
        found.map(|(_, value)| value.as_str())
    }
}

fn is_local(host: &str) -> bool {
    let is_loopback =
        |host: &str| host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    host.is_empty() || host.starts_with('/') || host.eq_ignore_ascii_case("localhost") || is_loopback(host)
}

/// Percent-encoding, as far as a URL's login and path need it.
pub fn decoded(text: &str) -> String {
    let pair = format!("x={}", text.replace('+', "%2B"));
    let decoded = url::form_urlencoded::parse(pair.as_bytes()).next();
    decoded.map_or_else(String::new, |(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(urls: &str, remote: &[&str]) {
        let addresses = Address::each(urls);
        let told: Vec<&str> =
            addresses.iter().filter(|at| at.is_remote()).map(|at| at.host.as_str()).collect();
        assert_eq!(told, remote, "{urls}");
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
        check("amqp://a:b@one/v,amqps://a:b@two/v,amqp://a:b@localhost/v", &["one", "two"]);
    }

    #[test]
    fn a_url_is_read_without_its_password() {
        let address = Address::each("amqps://g%40x:hush@mq:5671/%2fshop?heartbeat=15&heartbeat=5").remove(0);
        assert_eq!(
            (address.scheme.as_str(), address.user.as_str(), address.path.as_str()),
            ("amqps", "g@x", "/shop")
        );
        assert_eq!(address.parameter(&["heartbeat"]), Some("5"));
        assert!(!format!("{address:?}").contains("hush"));
        assert_eq!(Address::each("nonsense"), []);
    }
}
