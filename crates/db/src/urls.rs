//! A server's URL that may name several hosts.
//!
//! `scheme://user:password@first:5432,second:5432,[2001:db8::1]/path?query` is one URL with a list of hosts; whole URLs
//! separated by commas are the same list written out, for hosts that differ in more.
//!
//! Errors say the form alone and quote nothing: a password with a sign that is not encoded as it should be ends up wherever a
//! host, a port or a path is expected.

use std::fmt;

/// A URL of one host.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl {
    /// Scheme and login, up to the host.
    head: String,
    /// As it stands in a URL: an IPv6 address in its brackets.
    host: String,
    port: Option<u16>,
    path: String,
    /// With its question mark.
    query: String,
}

impl ServerUrl {
    /// Every host that a text names, in its order; at least one.
    ///
    /// # Errors
    /// What was expected, without a piece of the text.
    pub fn all(text: &str) -> Result<Vec<Self>, String> {
        let mut all = Vec::new();
        for url in whole_urls(text.trim()) {
            all.extend(hosts_of(url)?);
        }
        Ok(all)
    }

    /// The list as one text, which [`ServerUrl::all`] reads back.
    pub fn joined(all: &[Self]) -> String {
        all.iter().map(Self::text).collect::<Vec<_>>().join(",")
    }

    /// The URL as others read it, with its password.
    pub fn text(&self) -> String {
        let Self { head, host, path, query, .. } = self;
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{head}{host}{port}{path}{query}")
    }

    /// The host, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }

    /// Whether the host is an IPv6 address.
    pub fn is_ipv6(&self) -> bool {
        self.host.starts_with('[')
    }

    /// Of another database (Postgres) or vhost (RabbitMQ).
    pub fn with_path(&self, path: &str) -> Self {
        Self { path: format!("/{path}"), ..self.clone() }
    }

    /// `postgres`, `amqps`.
    pub fn scheme(&self) -> &str {
        self.head.split_once("://").map_or("", |(scheme, _)| scheme)
    }

    /// The user, as it stands in the URL.
    pub fn user(&self) -> &str {
        let login = self.head.split_once("://").map_or("", |(_, login)| login.trim_end_matches('@'));
        login.split(':').next().unwrap_or_default()
    }

    /// For another login. Its name and password are of characters that a URL takes as they are.
    pub fn with_login(&self, user: &str, password: &str) -> Self {
        Self { head: format!("{}://{user}:{password}@", self.scheme()), ..self.clone() }
    }

    /// The database (Postgres) or vhost (RabbitMQ), as it stands in the URL.
    pub fn path(&self) -> &str {
        self.path.trim_start_matches('/')
    }

    /// The names of what the query sets, each with its value.
    pub fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        let settings = self.query.trim_start_matches('?').split('&').filter(|setting| !setting.is_empty());
        settings.map(|setting| setting.split_once('=').unwrap_or((setting, "")))
    }
}

/// Where it is, without its login.
impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// Splits at the commas that another URL follows.
pub fn whole_urls(text: &str) -> Vec<&str> {
    let mut urls = Vec::new();
    let mut from = 0;
    for (at, _) in text.match_indices(',') {
        let scheme = text[at + 1..].split_once("://").map(|(scheme, _)| scheme.trim());
        let is_scheme = |scheme: &str| !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphabetic());
        if scheme.is_some_and(is_scheme) {
            urls.push(text[from..at].trim());
            from = at + 1;
        }
    }
    urls.push(text[from..].trim());
    urls
}

/// Else the part of a password before such a sign would be taken for a host or its port.
const ENCODE: &str = "encode / ? # @ in the password as %2F %3F %23 %40";

fn hosts_of(url: &str) -> Result<Vec<ServerUrl>, String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err("expected scheme://user:password@host:port/..., got no ://".to_owned());
    };
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if rest.contains('@') {
        return Err(format!("expected no @ behind the hosts: {ENCODE}, and @ elsewhere as %40"));
    }
    let (login, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    let (path, query) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    let hosts: Vec<&str> = hosts.split(',').map(str::trim).collect();
    if hosts.len() > 1 && hosts.contains(&"") {
        return Err("expected a host before and after each comma, got none".to_owned());
    }
    let of = |host: &str| {
        let (host, port) = host_and_port(host)?;
        let (head, path, query) = (format!("{scheme}://{login}"), path.to_owned(), query.to_owned());
        Ok(ServerUrl { head, host: host.to_owned(), port, path, query })
    };
    hosts.into_iter().map(of).collect()
}

fn host_and_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match text.rfind(']') {
        Some(end) => text.split_at(end + 1),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    if host.starts_with('[') && host[1..host.len() - 1].parse::<std::net::Ipv6Addr>().is_err() {
        return Err("expected an IPv6 address in brackets, got something else in them".to_owned());
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok((host, None)),
        Some(port) if port.contains(':') => Err(
            "expected host:port, got more than one colon; an IPv6 address stands in brackets like [::1]:5432"
                .to_owned(),
        ),
        Some(number) => match number.parse::<u16>() {
            Ok(port @ 1..) => Ok((host, Some(port))),
            _ => Err(format!("expected a port from 1 to 65535 after a host's colon, got none; {ENCODE}")),
        },
        None => Err("expected host:port, got a text between ] and the port".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        ServerUrl::all(text).expect(text).iter().map(ServerUrl::text).collect()
    }

    #[test]
    fn a_url_may_name_several_hosts() {
        let url = "postgres://ada:a%2Cb,c@one:5432,two,[::1]:5433/shop?sslmode=require";
        let expected = [
            "postgres://ada:a%2Cb,c@one:5432/shop?sslmode=require",
            "postgres://ada:a%2Cb,c@two/shop?sslmode=require",
            "postgres://ada:a%2Cb,c@[::1]:5433/shop?sslmode=require",
        ];
        assert_eq!(texts(url), expected);
        assert_eq!(texts(&ServerUrl::joined(&ServerUrl::all(url).unwrap())), expected);
        let all = ServerUrl::all(url).unwrap();
        assert_eq!(all[2].host(), "::1");
        assert!(all[2].is_ipv6());
        assert_eq!(all[1].with_path("other").text(), "postgres://ada:a%2Cb,c@two/other?sslmode=require");
        assert_eq!(all[0].path(), "shop");
        assert_eq!(all[0].settings().collect::<Vec<_>>(), [("sslmode", "require")]);
    }

    #[test]
    fn whole_urls_may_be_a_list_too() {
        assert_eq!(
            texts("amqp://a:b@one:5672/x, amqps://c:d@two,three/y?heartbeat=5"),
            ["amqp://a:b@one:5672/x", "amqps://c:d@two/y?heartbeat=5", "amqps://c:d@three/y?heartbeat=5"]
        );
    }

    #[test]
    fn a_url_of_one_host_stays_what_it_was() {
        for url in [
            "postgres://postgres@127.0.0.1:5432/bursar",
            "postgres:///bursar?host=/var/run/postgresql",
            "postgres://ada@%2Fvar%2Frun%2Fpostgresql/bursar",
            "amqp://guest:guest@127.0.0.1:5672/%2f",
            "amqp://localhost",
        ] {
            assert_eq!(texts(url), [url]);
        }
    }

    #[test]
    fn what_is_no_list_of_hosts_is_said_without_its_password() {
        for (url, part) in [
            ("localhost:5432", "://"),
            ("postgres://ada:hush@one,,two/x", "each comma"),
            ("postgres://ada:hush@one,/x", "each comma"),
            ("postgres://ada:hush@one:0/x", "1 to 65535"),
            ("postgres://ada:hush@one:port,two/x", "1 to 65535"),
            ("postgres://ada:hush", "1 to 65535"),
            ("postgres://ada:hush/tail", "1 to 65535"),
            ("postgres://ada:hush:x", "one colon"),
            ("postgres://ada:hush@::1:5432/x", "in brackets"),
            ("postgres://ada:hush@[::g]/x", "IPv6"),
            ("postgres://ada:hush@[::1]5432/x", "host:port"),
        ] {
            let why = ServerUrl::all(url).unwrap_err();
            assert!(why.contains(part) && !why.contains("hush"), "{url}: {why}");
        }
    }

    /// `postgres://ada:1234/tail@h/d` is no host of the name `ada`.
    #[test]
    fn a_password_that_is_not_encoded_is_neither_a_host_nor_told() {
        for sign in ['/', '?', '#'] {
            for password in [format!("hush{sign}tail"), format!("1234{sign}hush"), format!("{sign}hush")] {
                for url in [
                    format!("postgres://ada:{password}@h/d"),
                    format!("postgres://ada:{password}@h:1,g:2/d?sslmode=require"),
                    format!("amqp://ada:x@g/v,amqp://ada:{password}@h/v"),
                ] {
                    let why = ServerUrl::all(&url).unwrap_err();
                    assert!(why.contains("%2F %3F %23 %40"), "{url}: {why}");
                    let told = ["hush", "tail", "1234", "ada"].into_iter().find(|part| why.contains(part));
                    assert_eq!(told, None, "{url}: {why}");
                }
            }
        }
    }

    #[test]
    fn a_login_takes_the_place_of_another() {
        for url in ["postgres://a:b%40c@h/d?x=1", "postgres://a@h/d?x=1", "postgres://h/d?x=1"] {
            let url = ServerUrl::all(url).unwrap().remove(0).with_login("r", "p");
            assert_eq!((url.text().as_str(), url.user()), ("postgres://r:p@h/d?x=1", "r"));
        }
    }
}
