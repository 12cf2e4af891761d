//! Letters whole, for another system or a later day.

use crate::output::{say, say_json};
use crate::session::Session;
use crate::visible;
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use db::Doing;
use dead_letters::acts::{self, AuditRecord};
use dead_letters::read::{self, Filter, StoredMessage};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Letters read at a time.
const PAGE: i64 = 200;

/// What is broken off leaves the row that was written before it began.
pub async fn export(session: &Session, filter: &Filter, to: Option<PathBuf>, by: &str) -> Result<ExitCode> {
    let mut out: Box<dyn Write + Send> = match &to {
        Some(path) => Box::new(BufWriter::new(new_file(path)?)),
        None => Box::new(std::io::stdout()),
    };
    let file = to.as_ref().map(|path| path.display().to_string());
    let record = async |letters: Option<i64>, result: Value| {
        let filter = Some(serde_json::to_value(filter.audited())?);
        let by = by.to_owned();
        let record =
            AuditRecord { by, action: "export", filter, letters, reason: None, result: Some(result) };
        anyhow::Ok(acts::record(&session.pool, &record, OffsetDateTime::now_utc()).await?)
    };
    record(None, json!({ "file": file, "state": "begun" })).await?;
    let mut count = 0;
    let form = if session.json && to.is_none() { Form::Array } else { Form::Lines };
    let written = write(session, filter, form, &mut out, &mut count).await;
    let state = if written.is_ok() { "done" } else { "broken off" };
    record(Some(count), json!({ "file": file, "state": state })).await?;
    written?;
    if let Some(path) = to.as_ref().filter(|_| count == 0) {
        std::fs::remove_file(path).with_context(|| format!("removing {}, which is empty", path.display()))?;
    }
    match file.filter(|_| count > 0) {
        None if to.is_some() && session.json => say_json(&json!({ "exported": 0, "file": null }))?,
        None if to.is_some() => say("No dead letters here: nothing was written."),
        Some(file) if session.json => say_json(&json!({ "exported": count, "file": file }))?,
        Some(file) => say(&format!("Wrote {count} dead letters to {file}.")),
        None => {}
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// For files: whatever was broken off can be read up to there.
    Lines,
    /// One document, as every command writes with `--json`.
    Array,
}

async fn write(
    session: &Session,
    filter: &Filter,
    form: Form,
    out: &mut (dyn Write + Send),
    count: &mut i64,
) -> Result<()> {
    let mut connection = session.pool.acquire().await.doing("taking a connection")?;
    let mut last = None;
    loop {
        let mut page = read::stored_after(&mut connection, filter, last.as_ref(), PAGE).await?;
        for stored in &page {
            let before = match form {
                Form::Lines => "",
                Form::Array if *count == 0 => "[\n",
                Form::Array => ",",
            };
            let document = visible::json(&document(stored).to_string());
            writeln!(out, "{before}{document}").context("writing a dead letter")?;
            *count += 1;
        }
        let Some(youngest) = page.pop() else { break };
        last = Some(youngest);
    }
    let end = match form {
        Form::Lines => "",
        Form::Array if *count == 0 => "[]\n",
        Form::Array => "]\n",
    };
    out.write_all(end.as_bytes()).and_then(|()| out.flush()).context("writing dead letters")
}

/// A file that was not there before; it may hold what webhooks say of people.
pub fn new_file(path: &Path) -> Result<std::fs::File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).with_context(|| format!("expected to make a new file {}", path.display()))
}

fn time(at: OffsetDateTime) -> Option<String> {
    at.format(&Rfc3339).ok()
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
        "fingerprint": stored.fingerprint,
        "account": stored.account,
        "payment": stored.payment,
        "traceparent": stored.traceparent,
        "attempts": stored.attempts,
        "first_failed_at": time(stored.first_failed_at),
        "dead_at": time(stored.dead_at),
        "previous": stored.previous,
        "diff": stored.diff,
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "message_id": message.message_id,
        "content_type": message.content_type,
        "user_id": message.user_id,
        "headers": message.headers,
        "unreadable": stored.unreadable,
        "body_base64": BASE64.encode(&message.body),
    })
}
