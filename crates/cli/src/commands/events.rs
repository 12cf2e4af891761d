//! `events tail`: events as they go out, from the stream.

use crate::output::say;
use crate::session::Session;
use crate::subscriber::{From, Subscriber};
use crate::visible;
use anyhow::Result;
use clap::Subcommand;
use serde_json::Value;
use std::process::ExitCode;

#[derive(Subcommand)]
pub enum EventsCommand {
    /// Print events as they go out, until Ctrl-C; with --json one document a line
    Tail {
        /// Only this account's
        #[arg(long)]
        account: Option<String>,
        /// Only this type, for example credits.granted
        #[arg(long = "type")]
        kind: Option<String>,
        /// Begin with the oldest event that the stream holds, instead of the next
        #[arg(long)]
        from_start: bool,
        /// End after this many events
        #[arg(long)]
        limit: Option<u64>,
    },
}

pub async fn run(session: &Session, command: EventsCommand) -> Result<ExitCode> {
    let EventsCommand::Tail { account, kind, from_start, limit } = command;
    let broker = session.broker("events tail");
    let from = if from_start { From::First } else { From::Next };
    let mut events = Subscriber::to_stream(&broker, &session.namespace()?, from).await?;
    let mut shown = 0;
    while limit.is_none_or(|limit| shown < limit) {
        let event = tokio::select! {
            event = events.next() => event?,
            _ = tokio::signal::ctrl_c() => break,
        };
        let is = |field: &str, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| event[field].as_str() == Some(wanted))
        };
        if is("subject", &account) && is("type", &kind) {
            shown += 1;
            say(&if session.json { visible::json(&event.to_string()) } else { line(&event) });
        }
    }
    broker.close().await;
    Ok(ExitCode::SUCCESS)
}

/// One event on one line: when, whose and which, what, and the balances after it.
pub fn line(event: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let data = &event["data"];
    let mut line = format!(
        "{} {:<20} {:>5} {:<19}",
        text(&event["time"]).chars().take(19).collect::<String>(),
        text(&event["subject"]),
        text(&event["sequence"]),
        text(&event["type"]),
    );
    for field in
        ["credits", "debt_incurred", "payment", "movement", "reference", "reason", "alert", "fingerprint"]
    {
        if !data[field].is_null() {
            line.push_str(&format!(" {field}={}", text(&data[field])));
        }
    }
    if !data["available"].is_null() {
        let [available, held, debt] = ["available", "held", "debt"].map(|field| text(&data[field]));
        line.push_str(&format!("  -> available {available}, held {held}, debt {debt}"));
    }
    visible::on_a_line(&line)
}
