//! Letters whole, for another system or a later day.

use crate::commands::say;
use crate::session::Session;
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use db::Doing;
use dead_letters::acts::{self, Record};
use dead_letters::read::{self, Filter, StoredMessage};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use time::OffsetDateTime;

/// Letters read at a time.
const PAGE: i64 = 200;

pub async fn export(session: &Session, filter: &Filter, to: Option<PathBuf>, by: &str) -> Result<ExitCode> {
    let mut out: Box<dyn Write + Send> = match &to {
        Some(path) => Box::new(BufWriter::new(new_file(path)?)),
        None => Box::new(std::io::stdout()),
    };
    let mut connection = session.pool.acquire().await.doing("taking a connection")?;
    let mut count = 0;
    let mut after = None;
    loop {
        let page = read::stored_after(&mut connection, filter, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some((last.dead_at, last.letter));
        count += page.len() as i64;
        for stored in &page {
            writeln!(out, "{}", document(stored)).context("writing a dead letter")?;
        }
    }
    out.flush().context("writing dead letters")?;
    let file = to.as_ref().map(|path| path.display().to_string());
    let record = Record {
        by: by.to_owned(),
        action: "export",
        filter: Some(serde_json::to_value(filter)?),
        letters: Some(count),
        reason: None,
        result: Some(json!({ "file": file })),
    };
    acts::record(&session.pool, &record, OffsetDateTime::now_utc()).await?;
    if let Some(file) = file {
        say(&format!("Wrote {count} dead letters to {file}."));
    }
    Ok(ExitCode::SUCCESS)
}

/// A file that was not there before; it may hold what webhooks say of people.
pub fn new_file(path: &Path) -> Result<std::fs::File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).with_context(|| format!("expected to make a new file {}", path.display()))
}

fn document(stored: &StoredMessage) -> Value {
    let message = &stored.message;
    json!({
        "letter": stored.letter,
        "state": stored.state,
        "worker": stored.worker,
        "queue": stored.queue,
        "code": stored.code,
        "reason": stored.reason,
        "fact": stored.fact,
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "message_id": message.message_id,
        "content_type": message.content_type,
        "user_id": message.user_id,
        "headers": message.headers,
        "body_base64": BASE64.encode(&message.body),
    })
}
