//! Dead letters straight from the queue: without Postgres.

use super::export::new_file;
use crate::output::{say, say_json, warn};
use crate::session::{CONFIRM_TIMEOUT, Session};
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bus::{Incoming, Message, Publisher, QueueReader, REPLAYED, exchange, queue};
use clap::Args;
use dead_letters::acts::{self, AuditRecord};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use time::OffsetDateTime;

pub const HELP: &str = "\
While Postgres is away dead letters wait in their queue, whole and safe: the dead-letters worker moves them once it is back, so there is seldom a need for this. `--to` writes each to a file (and to the disk) before it leaves the queue, for `bursar dlq import`; `--replay` puts each back into the queue it came from (confirmed, before it leaves this one), without plan, audit or outcome.";

#[derive(Args)]
pub struct DrainArguments {
    /// Without Postgres: says that you know it
    #[arg(long, required = true)]
    direct: bool,
    /// Into this new file, one JSON document a line, readable by its owner alone
    #[arg(long, value_name = "FILE", required_unless_present = "replay", conflicts_with = "replay")]
    to: Option<PathBuf>,
    /// Back into the queues they came from
    #[arg(long)]
    replay: bool,
    /// Only those of this worker; others stay
    #[arg(long, value_name = "WORKER")]
    worker: Option<String>,
    /// So many at most
    #[arg(long, value_name = "N")]
    max: Option<u32>,
}

/// Says what a line is: a letter that `export` wrote is one too, and must not be taken for one that left the queue.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DrainedKind {
    Drained,
}

/// A message as it lies in the queue of dead letters.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DrainedLine {
    kind: DrainedKind,
    routing_key: String,
    message_id: String,
    content_type: String,
    headers: BTreeMap<String, String>,
    body_base64: String,
}

pub async fn drain(session: &Session, arguments: &DrainArguments) -> Result<ExitCode> {
    let broker = session.broker("drain");
    let mut reader = QueueReader::open(&broker, &session.namespace()?, queue::DEAD_LETTERS).await?;
    let mut place = match &arguments.to {
        Some(path) => DrainedTo::File(new_file(path)?),
        None => DrainedTo::Queues(Publisher::spawn(session.broker("drain publish"), CONFIRM_TIMEOUT)),
    };
    let (mut taken, mut skipped) = (0_u64, 0_u64);
    // What is skipped stays in the reader's hands until it is closed: so each is seen once.
    while arguments.max.is_none_or(|max| taken < max.into()) {
        let Some((tag, message)) = reader.next().await? else { break };
        if !is_meant(arguments, &message, &session.namespace()?) || !place.put(session, message).await? {
            skipped += 1;
            continue;
        }
        reader.done(tag).await?;
        taken += 1;
    }
    let left = skipped + u64::from(reader.unseen());
    reader.close().await;
    broker.close().await;
    if let Some(path) = arguments.to.as_ref().filter(|_| taken == 0) {
        std::fs::remove_file(path).with_context(|| format!("removing {}, which is empty", path.display()))?;
    }
    match session.json {
        true => say_json(&json!({ "taken": taken, "skipped": skipped, "left": left, "audited": false }))?,
        false => say(&format!(
            "Took {taken} out of the queue of dead letters, skipped {skipped}; {left} are left in it."
        )),
    }
    match (taken, arguments.replay) {
        (0, _) => {}
        (_, true) => warn(
            "The audit does not have this: nothing was asked of Postgres. Once it is there write it down, with `bursar dlq note <fingerprint>`.",
        ),
        (_, false) => warn(
            "The audit does not have this yet: nothing was asked of Postgres. `bursar dlq import` writes it down.",
        ),
    }
    Ok(ExitCode::SUCCESS)
}

fn is_meant(arguments: &DrainArguments, message: &Incoming, namespace: &bus::Namespace) -> bool {
    let death = message.clone().restored(namespace).death;
    let worker = death.map(|death| death.worker);
    arguments.worker.is_none() || arguments.worker == worker
}

/// Where they go.
enum DrainedTo {
    File(std::fs::File),
    Queues(Publisher),
}

impl DrainedTo {
    /// Tells whether it is safe there. How a replay went (it lies in the same queue) can only be left.
    async fn put(&mut self, session: &Session, message: Incoming) -> Result<bool> {
        match self {
            DrainedTo::File(file) => {
                let line = serde_json::to_string(&line(&message, &session.namespace()?))?;
                writeln!(file, "{line}").and_then(|()| file.sync_data()).context("writing a dead letter")?;
                Ok(true)
            }
            DrainedTo::Queues(publisher) => {
                let namespace = session.namespace()?;
                let Some(back) = put_back(message, &namespace) else { return Ok(false) };
                publisher.publish_all(vec![back]).await.context("putting a dead letter back")?;
                Ok(true)
            }
        }
    }
}

fn put_back(message: Incoming, namespace: &bus::Namespace) -> Option<Message> {
    let is_outcome = message.routing_key == REPLAYED;
    let restored = message.restored(namespace);
    let queue = restored.death.as_ref().map(|death| death.queue.clone())?;
    (!is_outcome && !queue.is_empty()).then(|| restored.replay(namespace, &queue))
}

fn line(message: &Incoming, namespace: &bus::Namespace) -> DrainedLine {
    let is_outcome = message.routing_key == REPLAYED;
    let aside = message.laid_aside(namespace, OffsetDateTime::now_utc()).filter(|_| !is_outcome);
    let message = aside.unwrap_or_else(|| as_it_lies(message));
    DrainedLine {
        kind: DrainedKind::Drained,
        routing_key: message.routing_key,
        message_id: message.message_id,
        content_type: message.content_type,
        headers: message.headers,
        body_base64: BASE64.encode(&message.body),
    }
}

/// What is no dead letter: the outcome of a replay, or what somebody put there.
fn as_it_lies(message: &Incoming) -> Message {
    // The broker's own headers would make a message that goes around look like a cycle to it.
    let headers = message.headers.iter().filter(|(name, _)| !name.starts_with("x-"));
    Message {
        exchange: message.exchange.clone(),
        routing_key: message.routing_key.clone(),
        message_id: message.message_id.clone().unwrap_or_default(),
        content_type: message.content_type.clone().unwrap_or_default(),
        headers: headers.map(|(name, value)| (name.clone(), value.clone())).collect(),
        body: message.body.clone(),
    }
}

/// Lines published at a time.
const AT_ONCE: usize = 200;

/// Every line is read before the first is published: a file that is no drained one changes nothing.
pub async fn import(session: &Session, file: &Path, by: &str) -> Result<ExitCode> {
    let dead = session.namespace()?.name(exchange::DEAD);
    let mut count = 0_i64;
    for message in messages(file, &dead)? {
        message?;
        count += 1;
    }
    if count > 0 {
        give_back(session, messages(file, &dead)?).await?;
    }
    let audited = match count {
        0 => true,
        _ => record(session, file, by, count).await,
    };
    match session.json {
        true => say_json(&json!({ "imported": count, "audited": audited }))?,
        false => say(&format!(
            "Gave {count} back to the queue of dead letters; those that were recorded before count as copies."
        )),
    }
    Ok(ExitCode::SUCCESS)
}

async fn give_back(session: &Session, mut messages: impl Iterator<Item = Result<Message>>) -> Result<()> {
    let broker = session.broker("import");
    let publisher = Publisher::spawn(broker.clone(), CONFIRM_TIMEOUT);
    loop {
        let some = messages.by_ref().take(AT_ONCE).collect::<Result<Vec<Message>>>()?;
        if some.is_empty() {
            break;
        }
        publisher.publish_all(some).await.context("giving dead letters back")?;
    }
    broker.close().await;
    Ok(())
}

/// What was drained while Postgres was away is in the audit once it is back. Where it is not back yet this is said, and the
/// letters are no less safe.
async fn record(session: &Session, file: &Path, by: &str, count: i64) -> bool {
    let record = AuditRecord {
        by: by.to_owned(),
        action: "drain",
        filter: None,
        letters: Some(count),
        reason: None,
        result: Some(json!({ "file": file.display().to_string(), "state": "given back" })),
    };
    let recorded = acts::record(&session.pool, &record, OffsetDateTime::now_utc()).await;
    if let Err(error) = &recorded {
        warn(&format!(
            "{error}. So the audit does not have that {by} gave {count} back: once Postgres is there write it down, with `bursar dlq note <fingerprint>`"
        ));
    }
    recorded.is_ok()
}

fn messages(file: &Path, dead: &str) -> Result<impl Iterator<Item = Result<Message>>> {
    let at = format!("reading {}", file.display());
    let lines = BufReader::new(std::fs::File::open(file).with_context(|| at.clone())?).lines();
    Ok(lines.enumerate().map(move |(number, text)| {
        let line: DrainedLine = serde_json::from_str(&text.with_context(|| at.clone())?).with_context(|| {
            format!(
                "{at}: line {}: expected one of `bursar dlq drain --to`; what `bursar dlq export` wrote never left Postgres, `bursar dlq replay` puts it back",
                number + 1
            )
        })?;
        read_back(dead, line)
    }))
}

fn read_back(dead: &str, line: DrainedLine) -> Result<Message> {
    let Ok(body) = BASE64.decode(&line.body_base64) else {
        bail!("message {}: expected a body in base64", line.message_id)
    };
    Ok(Message {
        exchange: dead.to_owned(),
        routing_key: line.routing_key,
        message_id: line.message_id,
        content_type: line.content_type,
        headers: line.headers,
        body,
    })
}
