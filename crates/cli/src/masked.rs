//! Addresses of servers as they are shown: without their secrets. All of an address is shown that is known to be no secret.

use domain::settings::Masked;
use secrecy::ExposeSecret;
use serde::Serializer;

const MASK: &str = "***";

/// As a server's address is shown (`serialize_with`): whatever may be a secret in it is masked, and all of it where it cannot
/// be read.
pub fn address<S: Serializer>(address: &Masked, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&shown(address.0.expose_secret()))
}

/// What stands in a query and is no secret. All else is masked: a driver may know more names for a password than we do.
const OPEN: [&str; 16] = [
    "application_name",
    "auth_mechanism",
    "channel_max",
    "connect_timeout",
    "connection_timeout",
    "dbname",
    "frame_max",
    "heartbeat",
    "host",
    "port",
    "ssl-mode",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "target_session_attrs",
    "user",
];

/// One address, or several with commas between them.
fn shown(text: &str) -> String {
    let shown: Option<Vec<String>> = db::whole_urls(text.trim()).into_iter().map(one).collect();
    // What follows a secret at the end of a query may be another address, or more of the secret.
    let is_told_apart =
        |shown: &Vec<String>| !shown.iter().rev().skip(1).any(|before| before.ends_with(MASK));
    shown.filter(is_told_apart).map_or_else(|| MASK.to_owned(), |shown| shown.join(","))
}

/// Nothing where it is no address that is written as it should be.
fn one(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    // A password with one of those in it, not encoded as it should be, ends too early.
    if !is_scheme || rest.contains(['@', '#']) {
        return None;
    }
    let authority = match authority.rsplit_once('@') {
        None => hosts(authority)?.to_owned(),
        Some((user, at)) => format!("{}@{}", credentials(user)?, hosts(at)?),
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, format!("?{}", parameters(query))),
        None => (rest, String::new()),
    };
    let is_path = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.%~".contains(&byte));
    is_path.then(|| format!("{scheme}://{authority}{path}{query}"))
}

/// `host:port,host:port`, as far as they are hosts and ports: what stands where a port belongs may be a password.
fn hosts(text: &str) -> Option<&str> {
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_name =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_%".contains(&byte));
    let is_address = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit() || b".:%".contains(&byte));
    let is_host = |host: &str| match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => is_address(address),
        Some((address, port)) => is_address(address) && port.strip_prefix(':').is_some_and(is_port),
        None => match host.split_once(':') {
            Some((name, port)) => is_name(name) && is_port(port),
            None => is_name(host),
        },
    };
    text.split(',').all(is_host).then_some(text)
}

/// The user stays. Several of them cannot be told from what is secret between them.
fn credentials(text: &str) -> Option<String> {
    match text.split_once(':') {
        _ if text.contains('@') => None,
        Some((user, _)) => Some(format!("{user}:{MASK}")),
        None => Some(text.to_owned()),
    }
}

fn parameters(query: &str) -> String {
    let parameter = |text: &str| match text.split_once('=') {
        Some((name, _)) if OPEN.contains(&name) => text.to_owned(),
        Some((name, _)) if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) => {
            format!("{name}={MASK}")
        }
        Some(_) | None => MASK.to_owned(),
    };
    query.split('&').map(parameter).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown_wherever_it_stands_in_an_address() {
        let check = |address: &str, expect: &str| assert_eq!(shown(address), expect, "{address}");
        check("postgres://a:hush@h:5432/d", "postgres://a:***@h:5432/d");
        check("postgres://a@h/d?sslmode=require", "postgres://a@h/d?sslmode=require");
        check("postgres://h/d?user=a&password=hush", "postgres://h/d?user=a&password=***");
        check(
            "postgres://h/d?sslpassword=hush&sslmode=verify-full",
            "postgres://h/d?sslpassword=***&sslmode=verify-full",
        );
        check("postgres://h/d?passfile=/hush&Password=hush", "postgres://h/d?passfile=***&Password=***");
        check(
            "postgres:///d?host=/run/postgresql&password=hush",
            "postgres:///d?host=/run/postgresql&password=***",
        );
        check(
            "postgres://a:hush@h1:5432,h2:5433,[::1]:5434/d",
            "postgres://a:***@h1:5432,h2:5433,[::1]:5434/d",
        );
        check("amqp://a:hu,sh@h1,h2/%2f?heartbeat=5", "amqp://a:***@h1,h2/%2f?heartbeat=5");
        check("amqp://a:hush@h1/v, amqps://b:hush@h2/v ", "amqp://a:***@h1/v,amqps://b:***@h2/v");
        check("amqp://a:hush@h1/v,amqps://b:hush@h2:5671/v", "amqp://a:***@h1/v,amqps://b:***@h2:5671/v");
    }

    #[test]
    fn an_address_that_is_written_wrong_is_masked_whole() {
        for wrong in [
            "",
            "hush",
            "a:hush@h/d",
            "postgres://a:hu/sh@h/d",
            "postgres://a:hu?sh@h/d",
            "postgres://a:hu#sh@h/d",
            "postgres://a:hush@h1,b:hush@h2/d",
            "postgres://a:hu@sh@h/d",
            "postgres://h/d?x=1#hush",
            "postgres://hush h/d",
            "postgres://h/hush;d",
            "amqp://guest:hush@h:x/%2f",
            "postgres://a:hush",
            "postgres://a:hush/d",
            "hush hush://h/d",
            "postgres://a:1234/hush@h/d",
            "postgres://a:1234?hush@h/d",
            "postgres://a:1234#hush@h/d",
            "postgres://a:hush@h/d?password=hu@sh",
            "postgres://a:x@h/d,hush@g/e",
            "amqp://a:x@h1/v,amqp://b:hu/sh@h2/v",
        ] {
            assert_eq!(shown(wrong), MASK, "{wrong}");
        }
        assert_eq!(shown("postgres://h/d?hush&sslmode=require"), "postgres://h/d?***&sslmode=require");
    }

    /// Wherever a secret is put between the parts of an address, it is not shown.
    #[test]
    fn a_secret_is_shown_by_no_address_that_it_is_a_password_of() {
        let secrets = [
            "hush",
            "hu/sh",
            "hu@sh",
            "hu?sh",
            "hu#sh",
            "hu,sh",
            "hu:sh",
            "hu&sh",
            "hu=sh",
            "://hush",
            ",amqp://hush",
        ];
        for secret in secrets {
            for address in [
                format!("postgres://a:{secret}@h/d"),
                format!("postgres://a:{secret}@h1:1,h2:2/d?sslmode=require"),
                format!("amqp://a:{secret}@h1/v,amqp://b:{secret}@h2/v"),
                format!("postgres://h/d?password={secret}&sslmode=require"),
                format!("postgres://h/d?sslmode=require&password={secret}"),
            ] {
                let shown = shown(&address);
                assert!(!shown.contains("hu") && !shown.contains("sh@"), "{address}: {shown}");
            }
        }
    }
}
