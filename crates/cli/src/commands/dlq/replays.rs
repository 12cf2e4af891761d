//! Replays that were started: how far each is, and turning one. The dead-letters worker carries them out.

use crate::commands::act::By;
use crate::commands::bulk::rate::Rate;
use crate::config::duration;
use crate::output::table::{Column, Style, Table, moment, or_none};
use crate::output::{done, listing};
use crate::session::Session;
use anyhow::{Result, anyhow, bail};
use clap::Args;
use dead_letters::acts;
use dead_letters::read::{self, ReplayLine};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

/// A replay, and who turns it.
#[derive(Args)]
pub struct OfReplay {
    /// Its id: see `bursar dlq replays`
    replay: Uuid,
    #[command(flatten)]
    by: By,
}

impl OfReplay {
    fn by(&self) -> Result<String> {
        self.by.name()
    }
}

/// Which messages of a replay to open again.
#[derive(Args)]
pub struct Release {
    #[command(flatten)]
    of: OfReplay,
    /// Only those put back longer ago than this
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    older_than: Duration,
}

pub async fn pause(session: &Session, of: &OfReplay) -> Result<ExitCode> {
    acts::pause(&session.pool, of.replay, &of.by()?, OffsetDateTime::now_utc()).await?;
    done(
        session.json,
        &format!("Replay {} is paused: `bursar dlq resume {0}` lets it go on.", of.replay),
        &json!({ "replay": of.replay, "state": "paused" }),
    )
}

pub async fn resume(session: &Session, of: &OfReplay) -> Result<ExitCode> {
    acts::resume(&session.pool, of.replay, &of.by()?, OffsetDateTime::now_utc()).await?;
    let document = json!({ "replay": of.replay, "state": "running" });
    done(session.json, &format!("Replay {} goes on.", of.replay), &document)
}

pub async fn cancel(session: &Session, of: &OfReplay) -> Result<ExitCode> {
    let released = acts::cancel(&session.pool, of.replay, &of.by()?, OffsetDateTime::now_utc()).await?;
    done(
        session.json,
        &format!("Replay {} is cancelled; {released} that had not gone out are open again.", of.replay),
        &json!({ "replay": of.replay, "state": "cancelled", "released": released }),
    )
}

pub async fn release(session: &Session, Release { of, older_than }: &Release) -> Result<ExitCode> {
    one(session, of.replay).await?;
    let now = OffsetDateTime::now_utc();
    let released = acts::release(&session.pool, of.replay, now - *older_than, &of.by()?, now).await?;
    let left = one(session, of.replay).await?.published;
    let younger = match left {
        0 => String::new(),
        left => format!(
            " {left} were put back within the last {}: wait for them, or say less with --older-than.",
            humantime::format_duration(*older_than)
        ),
    };
    done(
        session.json,
        &format!("{released} of replay {} are open again.{younger}", of.replay),
        &json!({ "replay": of.replay, "released": released, "younger": left }),
    )
}

pub async fn one(session: &Session, replay: Uuid) -> Result<ReplayLine> {
    let mut lines = read::replays(&session.pool, Some(replay), 1).await?;
    lines.pop().ok_or_else(|| anyhow!("expected the id of a replay, got {replay}: see `bursar dlq replays`"))
}

pub async fn list(session: &Session, replay: Option<Uuid>, limit: i64) -> Result<ExitCode> {
    let lines = read::replays(&session.pool, replay, limit).await?;
    if let (Some(replay), true) = (replay, lines.is_empty()) {
        bail!("expected the id of a replay, got {replay}: see `bursar dlq replays`");
    }
    let document = json!({ "replays": lines });
    listing::print(session.json, &document, &table(&lines), "Nothing was replayed yet.", None)
}

fn table(lines: &[ReplayLine]) -> Table {
    let mut table = Table::new(&[
        Column::Text("replay"),
        Column::Text("state"),
        Column::Text("by"),
        Column::Text("began"),
        Column::Number("letters"),
        Column::Number("waiting"),
        Column::Number("put back"),
        Column::Number("resolved"),
        Column::Number("dead again"),
        Column::Text("given back"),
        Column::Text("canary"),
        Column::Text("rate"),
        Column::Text("why"),
    ]);
    for line in lines {
        let style = if line.ended_at.is_none() { Style::Bold } else { Style::Plain };
        table.styled_row(
            style,
            vec![
                line.replay.to_string(),
                line.state.clone(),
                line.by.clone(),
                moment(line.started_at),
                line.total.to_string(),
                line.waiting.to_string(),
                line.published.to_string(),
                line.resolved.to_string(),
                line.dead_again.to_string(),
                given_back(line),
                or_none(line.canary.map(|canary| canary.to_string()).as_deref()),
                or_none(line.rate.map(Rate::text).as_deref()),
                or_none(line.reason.as_deref()),
            ],
        );
    }
    table
}

/// How many letters a replay gave back, and why.
pub fn given_back(line: &ReplayLine) -> String {
    let reasons = line.released_why.as_ref().and_then(Value::as_object).into_iter().flatten();
    let reasons: Vec<String> = reasons.map(|(why, count)| format!("{why}: {count}")).collect();
    match reasons.is_empty() {
        true => line.released.to_string(),
        false => format!("{} ({})", line.released, reasons.join(", ")),
    }
}
