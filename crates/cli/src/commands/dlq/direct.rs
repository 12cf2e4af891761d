//! Dead letters straight from the queue: without Postgres.

use super::export::new_file;
use crate::commands::{say, say_json};
use crate::session::{CONFIRM_TIMEOUT, Session};
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bus::{Incoming, Message, Publisher, QueueReader, REPLAYED, exchange, queue};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub const HELP: &str = "\
While Postgres is away dead letters wait in their queue, whole and safe: the dead-letters worker moves them once it is back, so there is seldom a need for this. `--to` writes each to a file (and to the disk) before it leaves the queue, for `bursar dlq import`; `--replay` puts each back into the queue it came from (confirmed, before it leaves this one), without plan, audit or outcome.";

#[derive(Args)]
pub struct Arguments {
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
    #[arg(long, value_name = "N", default_value_t = u32::MAX)]
    max: u32,
}

/// A message as it lies in the queue of dead letters.
#[derive(Serialize, Deserialize)]
struct Line {
    routing_key: String,
    message_id: String,
    content_type: String,
    headers: BTreeMap<String, String>,
    body_base64: String,
}

pub async fn drain(session: &Session, arguments: &Arguments) -> Result<ExitCode> {
    let broker = session.broker("drain");
    let mut reader = QueueReader::open(&broker, &session.namespace()?, queue::DEAD_LETTERS).await?;
    let mut place = match &arguments.to {
        Some(path) => Place::File(new_file(path)?),
        None => Place::Queues(Publisher::spawn(session.broker("drain publish"), CONFIRM_TIMEOUT)),
    };
    let (mut taken, mut left) = (0_u64, 0_u64);
    // What is left stays in the reader's hands until it is closed: so each is seen once.
    while taken < arguments.max.into() {
        let Some((tag, message)) = reader.next().await? else { break };
        if !is_meant(arguments, &message, &session.namespace()?) || !place.put(session, message).await? {
            left += 1;
            continue;
        }
        reader.done(tag).await?;
        taken += 1;
    }
    reader.close().await;
    broker.close().await;
    match session.json {
        true => say_json(&json!({ "taken": taken, "left": left }))?,
        false => say(&format!("Took {taken} out of the queue of dead letters, left {left}.")),
    }
    Ok(ExitCode::SUCCESS)
}

fn is_meant(arguments: &Arguments, message: &Incoming, namespace: &bus::Namespace) -> bool {
    let death = message.clone().restored(namespace).death;
    let worker = death.map(|death| death.worker);
    arguments.worker.is_none() || arguments.worker == worker
}

/// Where they go.
enum Place {
    File(std::fs::File),
    Queues(Publisher),
}

impl Place {
    /// Tells whether it is safe there. How a replay went (it lies in the same queue) can only be left.
    async fn put(&mut self, session: &Session, message: Incoming) -> Result<bool> {
        match self {
            Place::File(file) => {
                let line = serde_json::to_string(&line(&message))?;
                writeln!(file, "{line}").and_then(|()| file.sync_data()).context("writing a dead letter")?;
                Ok(true)
            }
            Place::Queues(publisher) => {
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

fn line(message: &Incoming) -> Line {
    // The broker's own headers would make a message that goes around look like a cycle to it.
    let headers = message.headers.iter().filter(|(name, _)| !name.starts_with("x-"));
    Line {
        routing_key: message.routing_key.clone(),
        message_id: message.message_id.clone().unwrap_or_default(),
        content_type: message.content_type.clone().unwrap_or_default(),
        headers: headers.map(|(name, value)| (name.clone(), value.clone())).collect(),
        body_base64: BASE64.encode(&message.body),
    }
}

/// Lines published at a time.
const AT_ONCE: usize = 200;

pub async fn import(session: &Session, file: &Path) -> Result<ExitCode> {
    let at = || format!("reading {}", file.display());
    let lines = BufReader::new(std::fs::File::open(file).with_context(at)?).lines();
    let broker = session.broker("import");
    let publisher = Publisher::spawn(broker.clone(), CONFIRM_TIMEOUT);
    let dead = session.namespace()?.name(exchange::DEAD);
    let (mut messages, mut count) = (Vec::new(), 0);
    for (number, line) in lines.enumerate() {
        let text = line.with_context(at)?;
        let line: Line = serde_json::from_str(&text).with_context(|| {
            format!("{}:{}: expected a line of `bursar dlq drain --to`", file.display(), number + 1)
        })?;
        messages.push(read_back(&dead, line)?);
        count += 1;
        if messages.len() == AT_ONCE {
            publisher.publish_all(std::mem::take(&mut messages)).await?;
        }
    }
    publisher.publish_all(messages).await?;
    broker.close().await;
    match session.json {
        true => say_json(&json!({ "imported": count }))?,
        false => say(&format!(
            "Gave {count} back to the queue of dead letters; those that were recorded before count as copies."
        )),
    }
    Ok(ExitCode::SUCCESS)
}

fn read_back(dead: &str, line: Line) -> Result<Message> {
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
