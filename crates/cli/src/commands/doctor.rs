//! `doctor`: is everything there that the fleet needs, and what to do where it is not.

mod finding;
mod network;
mod permissions;
mod role;
mod servers;

use crate::output::{say, say_json};
use crate::session::Session;
use crate::visible;
use anyhow::Result;
use db::Doing;
use dead_letters::read::{Filter, LetterState};
use finding::{Finding, Mark, finding};
use serde_json::json;
use std::process::ExitCode;
use time::format_description::well_known::Rfc3339;

pub async fn examine(session: &Session) -> Result<ExitCode> {
    let mut findings = vec![finding("configuration", Mark::Ok, "readable, every key known")];
    findings.extend(secrets(session)?);
    findings.push(catalog(session)?);
    findings.extend(network::findings(&session.config));
    match session.servers().postgres().await {
        Err(why) => findings.push(finding("Postgres", Mark::Failed, why.to_string())),
        Ok(()) => {
            findings.push(database(session).await);
            findings.extend(role::findings(&session.pool).await);
            findings.push(servers::standbys(session).await);
            findings.push(backlog(session).await);
            findings.extend(dead_letters(session).await);
        }
    }
    findings.extend(servers::hosts_of_postgres(session).await);
    findings.extend(broker(session).await?);
    findings.extend(permissions::findings(session).await?);
    findings.extend(servers::hosts_of_rabbitmq(session).await);
    let failed = findings.iter().any(|finding| finding.state == Mark::Failed);
    if session.json {
        say_json(&json!({ "ok": !failed, "findings": findings }))?;
    } else {
        for finding in &findings {
            let mark = match finding.state {
                Mark::Ok => "ok     ",
                Mark::Warning => "warning",
                Mark::Failed => "FAILED ",
            };
            say(&format!("{mark}  {:<14} {}", finding.what, visible::on_a_line(&finding.says)));
        }
    }
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn secrets(session: &Session) -> Result<Vec<Finding>> {
    let secrets = session.config.secrets()?;
    let door = |processor: &&'static processors::Processor| match secrets
        .0
        .get(processor.name)
        .map_or(0, Vec::len)
    {
        0 => finding(
            "webhook secret",
            Mark::Warning,
            format!(
                "{}: none, its door is closed; set BURSAR_{}_WEBHOOK_SECRETS",
                processor.name,
                processor.name.to_uppercase()
            ),
        ),
        count => {
            finding("webhook secret", Mark::Ok, format!("{}: {count}, its door is open", processor.name))
        }
    };
    Ok(processors::ALL.iter().map(door).collect())
}

fn catalog(session: &Session) -> Result<Finding> {
    let catalog = session.config.catalog()?;
    let prices: usize = catalog.prices.values().map(|prices| prices.len()).sum();
    Ok(match (prices, catalog.rates.len()) {
        (0, 0) => finding("catalog", Mark::Warning, "no price and no rate: payments will stay undelivered"),
        (prices, rates) => finding("catalog", Mark::Ok, format!("{prices} prices, {rates} rates")),
    })
}

async fn database(session: &Session) -> Finding {
    match db::is_ready(&session.pool).await {
        Ok(true) => finding("Postgres", Mark::Ok, "answers, every migration applied"),
        Ok(false) => finding(
            "Postgres",
            Mark::Failed,
            "answers, migrations are missing or not granted; run `bursar migrate` as the owner",
        ),
        Err(error @ db::Error::ReadOnly) => finding(
            "Postgres",
            Mark::Failed,
            format!(
                "{error}; name the primary in BURSAR_DATABASE_URL, or all of its hosts, separated by commas"
            ),
        ),
        Err(error @ db::Error::OtherTables(_)) => finding("Postgres", Mark::Failed, error.to_string()),
        Err(error) => finding(
            "Postgres",
            Mark::Failed,
            format!("{error}; is BURSAR_DATABASE_URL right, was `bursar migrate` run?"),
        ),
    }
}

async fn backlog(session: &Session) -> Finding {
    let counts = async {
        let mut connection = session.pool.acquire().await.doing("taking a connection")?;
        let unpublished = db::outbox::unpublished(&mut connection).await?;
        Ok::<_, db::Error>((unpublished, db::spool::count(&mut connection).await?))
    };
    match counts.await {
        Ok((0, 0)) => finding("outbox", Mark::Ok, "every event is published, nothing is kept for later"),
        Ok((events, kept)) => {
            let says =
                format!("{events} events unpublished, {kept} messages kept; a running fleet publishes them");
            finding("outbox", Mark::Warning, says)
        }
        Err(error) => finding("outbox", Mark::Failed, error.to_string()),
    }
}

/// Among so many of the latest is one of each sort, but in a flood of new kinds; then it is told without its details.
const ALERTS_READ: i64 = 500;

async fn dead_letters(session: &Session) -> Vec<Finding> {
    let asked = async {
        let mut connection = session.pool.acquire().await.doing("taking a connection")?;
        let (open, _) = dead_letters::read::gauges(&mut connection).await?;
        let replaying = Filter { states: vec![LetterState::Replaying], ..Filter::default() };
        let replaying = dead_letters::read::count(&session.pool, &replaying).await?;
        Ok::<_, db::Error>((
            open,
            replaying,
            jobs::watch::raised(&mut connection, ALERTS_READ).await?,
            jobs::watch::which(&mut connection).await?,
        ))
    };
    let (open, replaying, raised, counts) = match asked.await {
        Ok(found) => found,
        Err(error) => return vec![finding("dead letters", Mark::Failed, error.to_string())],
    };
    let count: i64 = open.iter().map(|gauge| gauge.open).sum();
    let mut findings = vec![match open.iter().map(|gauge| gauge.oldest).min() {
        None => finding("dead letters", Mark::Ok, "none is open"),
        Some(oldest) => {
            let oldest = oldest.format(&Rfc3339).unwrap_or_default();
            let says = format!(
                "{} open, {replaying} in replays, the oldest died {oldest}; `bursar dlq groups` says of what",
                count - replaying
            );
            finding("dead letters", Mark::Warning, says)
        }
    }];
    if raised.is_empty() {
        findings.push(finding("alerts", Mark::Ok, "none is raised"));
    }
    findings.extend(counts.into_iter().map(|(alert, count)| {
        let latest = raised.iter().find(|raised| raised.alert == alert);
        let latest = latest.map(|raised| {
            format!(" since {}: {}", raised.raised_at.format(&Rfc3339).unwrap_or_default(), raised.details)
        });
        let several = if count > 1 { format!(", {count} of them, the latest") } else { String::new() };
        finding("alert", Mark::Warning, format!("{alert}{several}{}", latest.unwrap_or_default()))
    }));
    findings
}

async fn broker(session: &Session) -> Result<Vec<Finding>> {
    let topology = session.topology()?;
    let broker = session.broker("doctor");
    let differences = match topology.check(&broker).await {
        Err(error) => {
            let says = session.servers().rabbitmq_says(&error).to_string();
            return Ok(vec![finding("RabbitMQ", Mark::Failed, says)]);
        }
        Ok(differences) => differences,
    };
    let mut findings = match differences.is_empty() {
        true => vec![finding("RabbitMQ", Mark::Ok, "answers, the topology is as it should be")],
        false => differences
            .into_iter()
            .map(|difference| {
                finding(
                    "topology",
                    Mark::Failed,
                    format!("{difference}; `bursar up` declares what is missing"),
                )
            })
            .collect(),
    };
    for queue in &topology.queues {
        let Ok(depth) = broker.depth(&queue.name).await else { continue };
        let Some(reader) = queue.reader else { continue };
        let says = format!("{}: {} messages, {} consumers", queue.name, depth.ready, depth.consumers);
        findings.push(match depth.consumers {
            0 => finding(
                "queue",
                Mark::Warning,
                format!("{says}; nobody reads it, run `bursar run {reader}` or `bursar up`"),
            ),
            1.. => finding("queue", Mark::Ok, says),
        });
    }
    broker.close().await;
    Ok(findings)
}
