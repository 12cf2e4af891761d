//! What `doctor` looks at where servers are several: every host that a URL names, and whether commits wait for a standby.

use super::finding::{Finding, Mark, finding};
use crate::session::Session;
use bus::Broker;
use db::ServerUrl;
use db::standbys::Standbys;
use secrecy::{ExposeSecret, SecretString};

/// The hosts of Postgres, where it has several: one takes changes, the others are there to take over.
pub async fn hosts_of_postgres(session: &Session) -> Vec<Finding> {
    let Ok(hosts) = db::Hosts::read(&session.config.database_url.0, "bursar doctor") else {
        return Vec::new();
    };
    if hosts.all().len() < 2 {
        return Vec::new();
    }
    let found = hosts.survey().await;
    let writable = found.iter().filter(|(_, answer)| matches!(answer, Ok(true))).count();
    let mut findings: Vec<Finding> = found
        .into_iter()
        .map(|(place, answer)| match answer {
            Ok(true) => host(Mark::Ok, &place, "takes changes"),
            Ok(false) => host(Mark::Ok, &place, "a standby"),
            Err(error) => host(Mark::Warning, &place, &format!("{error}; it could not take over")),
        })
        .collect();
    if writable > 1 {
        findings.push(host(
            Mark::Failed,
            "more than one of them",
            "takes changes: what is written at one is not at the other. Stop the one that was left before anything else is done",
        ));
    }
    findings
}

fn host(state: Mark, place: &str, says: &str) -> Finding {
    finding("Postgres host", state, format!("{place}: {says}"))
}

/// The hosts of RabbitMQ, where it has several: each lets the fleet in.
pub async fn hosts_of_rabbitmq(session: &Session) -> Vec<Finding> {
    let urls = ServerUrl::all(session.config.amqp_url.0.expose_secret()).unwrap_or_default();
    let mut findings = Vec::new();
    for url in urls.iter().filter(|_| urls.len() > 1) {
        let broker = Broker::new(SecretString::from(url.text()), "bursar doctor");
        findings.push(match broker.channel().await {
            Ok(_) => finding("RabbitMQ host", Mark::Ok, format!("{url:?}: lets the fleet in")),
            Err(error) => finding(
                "RabbitMQ host",
                Mark::Warning,
                format!("{url:?}: {error}; the fleet could not go on there"),
            ),
        });
        broker.close().await;
    }
    findings
}

/// Whether what was answered with 2xx outlives the primary.
pub async fn standbys(session: &Session) -> Finding {
    let of = |state, says: String| finding("standbys", state, says);
    match asked_for_standbys(session).await {
        Ok(Standbys::None) => {
            of(Mark::Ok, "none is connected: the disk of this server alone holds the ledger".to_owned())
        }
        Ok(Standbys::Synchronous(names)) => of(Mark::Ok, format!("commits wait for {}", names.join(", "))),
        Ok(Standbys::Asynchronous(names)) => of(
            Mark::Warning,
            format!(
                "commits wait for none of {}: what they have not received yet is lost with the primary, also what was \
                 answered with 2xx; set synchronous_standby_names = 'ANY 1 ({})' and synchronous_commit = on",
                names.join(", "),
                names.join(", ")
            ),
        ),
        Ok(Standbys::Missing(names)) => of(
            Mark::Failed,
            format!(
                "synchronous_standby_names is '{names}', and nobody of these follows: no commit ends until one does"
            ),
        ),
        Ok(Standbys::Unseen) => of(
            Mark::Warning,
            "there are some that this login may not look at: grant pg_monitor to the tables' owner and name it in \
             BURSAR_MIGRATE_URL, or to the role that runs, to have them judged"
                .to_owned(),
        ),
        Err(error) => of(Mark::Failed, error.to_string()),
    }
}

/// By the owner, where one is named and sees more than the role that runs.
async fn asked_for_standbys(session: &Session) -> Result<Standbys, db::Error> {
    let seen = db::standbys::of(&session.pool).await?;
    if seen != Standbys::Unseen || session.config.migrate_url.is_none() {
        return Ok(seen);
    }
    let Ok(owner) = session.owner_pool() else { return Ok(seen) };
    let asked = db::standbys::of(&owner).await;
    owner.close().await;
    // Who cannot be reached sees nothing.
    Ok(asked.unwrap_or(seen))
}
