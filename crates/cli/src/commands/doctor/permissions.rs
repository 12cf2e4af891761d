//! Who else may write where only the fleet may: RabbitMQ's permissions, as its management interface tells them. Over AMQP
//! a user sees nobody's rights but, by trying, its own.

use super::finding::{Finding, Mark, finding};
use crate::address::{Address, decoded};
use crate::session::Session;
use anyhow::{Context, Result};
use bus::{Namespace, Topology, exchange, queue};
use regex::Regex;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use url::Url;

/// An interface that does not answer within this is away.
const PATIENCE: Duration = Duration::from_secs(5);

/// How RabbitMQ's permissions call the default exchange: by it, one writes into any queue.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// Named of many objects.
const NAMED: usize = 5;

#[derive(Deserialize)]
struct Permission {
    user: String,
    configure: String,
    write: String,
    read: String,
}

#[derive(Deserialize)]
struct User {
    name: String,
    #[serde(default)]
    tags: serde_json::Value,
}

/// The fleet, as permissions speak of it.
struct FleetNames {
    user: String,
    vhost: String,
    /// Exchanges that nobody else may write to.
    exchanges: Vec<String>,
    queues: Vec<String>,
    /// Exchanges that others write to.
    doors: [String; 2],
}

impl FleetNames {
    fn of(address: &Address, namespace: &Namespace, topology: &Topology) -> Self {
        let doors = [exchange::INBOUND, exchange::RAW].map(|name| namespace.name(name));
        let exchanges = topology.exchanges.iter().map(|exchange| exchange.name.clone());
        Self {
            user: address.user.clone(),
            vhost: if address.path.is_empty() { "/".to_owned() } else { address.path.clone() },
            exchanges: exchanges.filter(|name| !doors.contains(name)).collect(),
            queues: topology.queues.iter().map(|queue| queue.name.clone()).collect(),
            doors,
        }
    }
}

pub(super) async fn findings(session: &Session) -> Result<Vec<Finding>> {
    let addresses = Address::each(session.config.amqp_url.0.expose_secret());
    let Some(address) = addresses.first() else { return Ok(Vec::new()) };
    let fleet = FleetNames::of(address, &session.namespace()?, &session.topology()?);
    let mut findings = own_user(session, &fleet);
    match &session.config.rabbitmq_management_url {
        None => {
            let says = format!(
                "who else may write to {}, to the fleet's queues and to {DEFAULT_EXCHANGE} cannot be seen over AMQP. \
                 Set BURSAR_RABBITMQ_MANAGEMENT_URL (http://user:password@host:15672), or look yourself: \
                 `rabbitmqctl list_permissions -p {}`",
                fleet.exchanges.join(", "),
                fleet.vhost
            );
            findings.push(finding("permissions", Mark::Warning, says));
        }
        Some(management) => match ask(management.0.expose_secret(), &fleet.vhost).await {
            Ok((permissions, users)) => findings.extend(judge(&fleet, &permissions, &users)),
            Err(error) => {
                let says =
                    format!("RabbitMQ's management interface: {error:#} (BURSAR_RABBITMQ_MANAGEMENT_URL)");
                findings.push(finding("permissions", Mark::Warning, says));
            }
        },
    }
    Ok(findings)
}

/// What can be told without asking anybody.
fn own_user(session: &Session, fleet: &FleetNames) -> Vec<Finding> {
    let mut findings = Vec::new();
    let user = &fleet.user;
    if user == "guest" {
        let says = "the fleet is RabbitMQ's default user `guest`, an administrator with a known password: give it a user of its own, \
                    and delete `guest`";
        findings.push(finding("permissions", Mark::Warning, says));
    }
    if session.config.publishers.iter().any(|publisher| publisher.user == *user) {
        let says = format!(
            "{user} is the fleet's user and a publisher of the configuration: what publishes has the fleet's rights to write \
             everywhere. Give each publisher a user of its own"
        );
        findings.push(finding("permissions", Mark::Warning, says));
    }
    findings
}

async fn ask(url: &str, vhost: &str) -> Result<(Vec<Permission>, Vec<User>)> {
    let mut url = Url::parse(url).context("expected http://user:password@host:15672")?;
    let (user, password) = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
    // A URL that is shown with an error shows no password.
    let stripped = url.set_username("").and_then(|()| url.set_password(None));
    stripped.map_err(|()| anyhow::anyhow!("expected http://user:password@host:15672"))?;
    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let vhost = vhost.replace('%', "%25").replace('/', "%2F");
    let get = async |path: String| -> Result<reqwest::Response> {
        let at = url.join(&path)?;
        let answer = client.get(at).basic_auth(&user, Some(&password)).send().await?;
        Ok(answer.error_for_status()?)
    };
    let permissions = read(get(format!("/api/vhosts/{vhost}/permissions")).await?).await?;
    let users = read(get("/api/users".to_owned()).await?).await?;
    Ok((permissions, users))
}

async fn read<T: DeserializeOwned>(answer: reqwest::Response) -> Result<T> {
    answer.json().await.context("reading the answer")
}

fn judge(fleet: &FleetNames, permissions: &[Permission], users: &[User]) -> Vec<Finding> {
    let others = permissions.iter().filter(|permission| permission.user != fleet.user);
    let mut findings: Vec<Finding> = others.filter_map(|permission| too_wide(fleet, permission)).collect();
    let is_administrator =
        |user: &&User| user.name == fleet.user && user.tags.to_string().contains("administrator");
    if let Some(user) = users.iter().find(is_administrator) {
        let user = &user.name;
        let says = format!(
            "{user}, the fleet's user, is an administrator: `rabbitmqctl set_user_tags {user}` takes that from it"
        );
        findings.push(finding("permissions", Mark::Warning, says));
    }
    if findings.is_empty() {
        let says = "nobody but the fleet may write where only the fleet may, nor touch its queues";
        findings.push(finding("permissions", Mark::Ok, says));
    }
    findings
}

/// What another user may do that only the fleet should.
fn too_wide(fleet: &FleetNames, permission: &Permission) -> Option<Finding> {
    let Permission { user, configure, write, read } = permission;
    let exchanges = || fleet.exchanges.iter().map(String::as_str);
    let queues = || fleet.queues.iter().map(String::as_str);
    // Subscribers read it.
    let own_queues = queues().filter(|queue| !queue.ends_with(queue::EVENTS_LOG));
    let may: Vec<String> = [
        said("write to", matching(write, [DEFAULT_EXCHANGE].into_iter().chain(exchanges()))),
        said("put messages into", matching(write, queues())),
        said("delete or change", matching(configure, exchanges().chain(queues()))),
        said("take messages from", matching(read, own_queues)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if may.is_empty() {
        return None;
    }
    let doors = fleet.doors.each_ref().map(|door| regex::escape(door)).join("|");
    let says = format!(
        "{user} may {}: whoever has its password can state facts about money, or lose some. A service that publishes needs no \
         more than `rabbitmqctl set_permissions -p {} {user} '^$' '^({doors})$' '^$'`",
        may.join("; "),
        fleet.vhost
    );
    Some(finding("permissions", Mark::Warning, says))
}

/// Those that a pattern of RabbitMQ's lets through: it may match anywhere in the name, and an empty one matches nothing. One that
/// cannot be read is taken to let everything through.
fn matching<'a>(pattern: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    if pattern.is_empty() {
        return Vec::new();
    }
    match Regex::new(pattern) {
        Ok(pattern) => names.filter(|name| pattern.is_match(name)).collect(),
        Err(_) => names.collect(),
    }
}

fn said(what: &str, names: Vec<&str>) -> Option<String> {
    let more = names.len().saturating_sub(NAMED);
    let shown = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match (names.len(), more) {
        (0, _) => None,
        (_, 0) => Some(format!("{what} {shown}")),
        _ => Some(format!("{what} {shown} and {more} more")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::Ladder;
    use serde_json::json;

    /// What is said of a user with these patterns, beside a fleet that is an administrator.
    fn told(configure: &str, write: &str, read: &str) -> Vec<String> {
        let of = |user: &str, configure: &str, write: &str, read: &str| Permission {
            user: user.to_owned(),
            configure: configure.to_owned(),
            write: write.to_owned(),
            read: read.to_owned(),
        };
        let address = Address::each("amqp://fleet:hush@mq").remove(0);
        let namespace = Namespace::new("bursar").unwrap();
        let fleet = FleetNames::of(
            &address,
            &namespace,
            &Topology::new(&namespace, &Ladder::default(), &crate::workers::queues()),
        );
        let permissions = [of("fleet", ".*", ".*", ".*"), of("gateway", configure, write, read)];
        let users = [User { name: "gateway".to_owned(), tags: json!(["administrator"]) }];
        let findings = judge(&fleet, &permissions, &users);
        findings.into_iter().filter(|finding| finding.state != Mark::Ok).map(|finding| finding.says).collect()
    }

    #[track_caller]
    fn check(patterns: (&str, &str, &str), expect: &[&str]) {
        let told = told(patterns.0, patterns.1, patterns.2).join("\n");
        assert_eq!(told.is_empty(), expect.is_empty(), "{told}");
        for part in expect {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[test]
    fn whoever_may_write_where_only_the_fleet_may_is_named() {
        check(("^$", r"^bursar\.(inbound|raw)$", "^$"), &[]);
        check(("", "", ""), &[]);
        check(
            ("^$", ".*", "^$"),
            &["gateway may write to amq.default, bursar.verified", "put messages into"],
        );
        check(("^$", "^amq\\.default$", "^$"), &["gateway may write to amq.default"]);
        check(("^$", "verified", "^$"), &["write to bursar.verified"]);
        check(("^$", "^bursar.facts$", "^$"), &["write to bursar.facts"]);
        check(("^bursar", "^$", "^$"), &["delete or change bursar."]);
        check(("^$", "^$", "^bursar"), &["take messages from bursar."]);
        check(("^$", "(", "^$"), &["write to amq.default, bursar.verified"]);
        check(("^$", ".*", "^$"), &[r"'^(bursar\.inbound|bursar\.raw)$'"]);
    }
}
