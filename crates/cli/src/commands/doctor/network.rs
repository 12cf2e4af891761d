//! Servers that are reached over a network: whoever is in between reads and changes everything unless they prove who they are.

use super::{Finding, State, finding};
use crate::address::Address;
use crate::config::Config;
use secrecy::{ExposeSecret, SecretString};

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        postgres("BURSAR_DATABASE_URL", &config.database_url.0).into_iter().collect();
    let owner = config.migrate_url.as_ref();
    findings.extend(owner.and_then(|url| postgres("BURSAR_MIGRATE_URL", &url.0)));
    findings.extend(rabbitmq(&config.amqp_url.0));
    findings
}

/// Nothing where it is on this machine.
fn postgres(variable: &str, url: &SecretString) -> Option<Finding> {
    let address = Address::of(url.expose_secret())?;
    let remote = address.remote();
    let mode = address.parameter(&["sslmode", "ssl-mode"]).unwrap_or("prefer");
    let lacks = match mode {
        _ if remote.is_empty() => return None,
        "verify-full" => {
            let says = format!("{} over the network, verified (sslmode=verify-full)", remote.join(", "));
            return Some(finding("Postgres TLS", State::Ok, says));
        }
        "verify-ca" => "does not check that the certificate is the host's",
        "require" => "is encrypted for whoever answers",
        _ => "may not even be encrypted",
    };
    let says = format!(
        "{} over the network with sslmode={mode}, which {lacks}: who is in between can read and change the ledger. \
         Set sslmode=verify-full (and sslrootcert=<file> for an authority of your own) in {variable}",
        remote.join(", ")
    );
    Some(finding("Postgres TLS", State::Warning, says))
}

fn rabbitmq(url: &SecretString) -> Option<Finding> {
    let address = Address::of(url.expose_secret())?;
    let remote = address.remote();
    if remote.is_empty() {
        return None;
    }
    let hosts = remote.join(", ");
    Some(match address.scheme.as_str() {
        "amqps" => finding("RabbitMQ TLS", State::Ok, format!("{hosts} over the network, verified (amqps)")),
        _ => {
            let says = format!(
                "{hosts} over the network without TLS: who is in between can read and state facts, and reads the password. \
                 Name it as amqps:// in BURSAR_AMQP_URL"
            );
            finding("RabbitMQ TLS", State::Warning, says)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Masked;

    #[track_caller]
    fn check(database: &str, amqp: &str, expect: &[(&str, bool)]) {
        let config =
            Config { database_url: Masked::new(database), amqp_url: Masked::new(amqp), ..Config::default() };
        let found = findings(&config);
        let told: Vec<(&str, bool)> =
            found.iter().map(|finding| (finding.what, finding.state == State::Ok)).collect();
        assert_eq!(told, expect, "{database} {amqp}");
        assert!(found.iter().all(|finding| !finding.says.contains("hush")));
    }

    #[test]
    fn a_server_over_the_network_that_does_not_prove_who_it_is_is_warned_of() {
        let here = ("postgres://a:hush@127.0.0.1/d", "amqp://a:hush@127.0.0.1");
        check(here.0, here.1, &[]);
        for mode in ["", "?sslmode=require", "?sslmode=verify-ca", "?sslmode=disable"] {
            check(&format!("postgres://a:hush@db/d{mode}"), here.1, &[("Postgres TLS", false)]);
        }
        check("postgres://a:hush@db/d?sslmode=verify-full", here.1, &[("Postgres TLS", true)]);
        check("postgres://a:hush@127.0.0.1,db/d", here.1, &[("Postgres TLS", false)]);
        check(here.0, "amqp://a:hush@mq", &[("RabbitMQ TLS", false)]);
        check(here.0, "amqps://a:hush@mq", &[("RabbitMQ TLS", true)]);
    }
}
