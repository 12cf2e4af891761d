//! Servers that are reached over a network: whoever is in between reads and changes everything unless they prove who they are.

use super::finding::{Finding, Mark, finding};
use crate::address::Address;
use crate::config::Config;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut findings = postgres("BURSAR_DATABASE_URL", &config.database_url.0);
    let owner = config.migrate_url.as_ref();
    findings.extend(owner.map(|url| postgres("BURSAR_MIGRATE_URL", &url.0)).unwrap_or_default());
    findings.extend(rabbitmq(&config.amqp_url.0));
    findings
}

/// Nothing of hosts on this machine.
fn postgres(variable: &str, url: &SecretString) -> Vec<Finding> {
    let mode = |address: &Address| address.parameter(&["sslmode", "ssl-mode"]).unwrap_or("prefer").to_owned();
    let by_mode = remote_by(url, mode).into_iter();
    by_mode.map(|(mode, hosts)| postgres_by(variable, &mode, &hosts.join(", "))).collect()
}

fn postgres_by(variable: &str, mode: &str, hosts: &str) -> Finding {
    let lacks = match mode {
        "verify-full" => {
            let says = format!("{hosts} over the network, verified (sslmode=verify-full)");
            return finding("Postgres TLS", Mark::Ok, says);
        }
        "verify-ca" => "does not check that the certificate is the host's",
        "require" => "is encrypted for whoever answers",
        _ => "may not even be encrypted",
    };
    let says = format!(
        "{hosts} over the network with sslmode={mode}, which {lacks}: who is in between can read and change the ledger. \
         Set sslmode=verify-full (and sslrootcert=<file> for an authority of your own) in {variable}"
    );
    finding("Postgres TLS", Mark::Warning, says)
}

fn rabbitmq(url: &SecretString) -> Vec<Finding> {
    let by_scheme = remote_by(url, |address| address.scheme.clone()).into_iter();
    by_scheme.map(|(scheme, hosts)| rabbitmq_by(&scheme, &hosts.join(", "))).collect()
}

fn rabbitmq_by(scheme: &str, hosts: &str) -> Finding {
    if scheme == "amqps" {
        return finding("RabbitMQ TLS", Mark::Ok, format!("{hosts} over the network, verified (amqps)"));
    }
    let says = format!(
        "{hosts} over the network without TLS: who is in between can read and state facts, and reads the password. \
         Name it as amqps:// in BURSAR_AMQP_URL"
    );
    finding("RabbitMQ TLS", Mark::Warning, says)
}

/// The hosts that are reached over a network, by how.
fn remote_by(url: &SecretString, how: impl Fn(&Address) -> String) -> BTreeMap<String, Vec<String>> {
    let mut by: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for address in Address::each(url.expose_secret()).into_iter().filter(Address::is_remote) {
        by.entry(how(&address)).or_default().push(address.host);
    }
    by
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
            found.iter().map(|finding| (finding.what, finding.state == Mark::Ok)).collect();
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
        check(
            here.0,
            "amqps://a:hush@one,amqp://a:hush@two",
            &[("RabbitMQ TLS", false), ("RabbitMQ TLS", true)],
        );
    }
}
