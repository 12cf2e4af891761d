//! Starting a replay and watching it: the dead-letters worker carries it out.

use super::agreed::{agreed, refused};
use super::replays::{given_back, one};
use super::which::Chosen;
use crate::commands::act::reason;
use crate::commands::bulk::Bulk;
use crate::commands::bulk::rate::Rate;
use crate::output::done;
use crate::output::progress::ProgressLine;
use crate::output::{say, say_json};
use crate::session::Session;
use anyhow::{Result, bail};
use clap::Args;
use dead_letters::acts::{self, ActRequest, ReplayPace};
use dead_letters::read::{self, Filter, LetterState, ReplayLine};
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

pub const HELP: &str = "\
The messages go back with their identity, as they first came; attempts are counted from none. A letter stays until its outcome is known: resolved, or dead again, as another letter. The dead-letters worker carries the replay out: this command only watches, and may be ended. `bursar dlq replays`, `pause`, `resume` and `cancel` turn it. A letter is in one replay at a time: of two operators the second is told. It watches for as long as something moves: where nothing has for --wait, and for as long as a message may rest between its attempts (the sum of `[retries] delays`) and the next is due, it says so and ends; the replay goes on. Exit status 1 if some died again or the replay was stopped, 2 if not what was expected was found.";

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Args)]
pub struct ReplayArguments {
    #[command(flatten)]
    which: Chosen,
    #[command(flatten)]
    bulk: Bulk,
    /// Why, for the audit
    #[arg(long, value_parser = reason)]
    reason: Option<String>,
    /// Start it, and do not watch
    #[arg(long)]
    detach: bool,
}

pub async fn start(session: &Session, arguments: &ReplayArguments) -> Result<ExitCode> {
    let (filter, bulk) = (arguments.which.filter(), &arguments.bulk);
    let by = bulk.agreement.by()?;
    if let Some(letter) = without_queue(session, &filter).await? {
        let why = format!(
            "letter {letter} has no queue to go back to: see `bursar dlq show {letter}`, then discard it"
        );
        done(session.json, &format!("Nothing was done: {why}."), &json!({ "done": 0, "error": why }))?;
        return Ok(ExitCode::from(2));
    }
    let Some(expected) = agreed(session, &filter, &bulk.agreement, "Replay {} of them?").await? else {
        return Ok(ExitCode::from(2));
    };
    if expected == 0 {
        return done(session.json, "Nothing to replay.", &json!({ "replay": null, "total": 0 }));
    }
    let order = ActRequest {
        by,
        reason: arguments.reason.clone(),
        filter,
        expected: Some(expected),
        max: bulk.agreement.max.map(|max| max as i64),
    };
    let canary = bulk.speed.canary.map(i32::try_from).transpose()?;
    let pace = ReplayPace { canary, rate: bulk.speed.rate.map(|rate| rate.per_second()) };
    let started = acts::start_replay(&session.pool, &order, pace, OffsetDateTime::now_utc()).await;
    let (replay, total) = match started {
        Ok(started) => started,
        Err(error) => return refused(session, error),
    };
    if arguments.detach {
        match session.json {
            true => say_json(&json!({ "replay": replay, "total": total }))?,
            false => {
                say(&format!("Replay {replay} of {total} has begun: `bursar dlq replays {replay} --watch`."))
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    watch(session, replay, Some(patience(session, bulk)?)).await
}

/// Of the letters that were named one that lay in no queue: somebody put it among the dead letters. Among many that were not
/// named the replay gives such a one back, and says so.
async fn without_queue(session: &Session, filter: &Filter) -> Result<Option<Uuid>> {
    for letter in &filter.letters {
        let view = read::letter(&session.pool, *letter).await?;
        if view.is_some_and(|view| view.queue.is_empty() && view.line.state == LetterState::Open.as_str()) {
            return Ok(Some(*letter));
        }
    }
    Ok(None)
}

/// How long nothing may move where everything runs: until the next goes out, and until its worker gives up on it.
fn patience(session: &Session, bulk: &Bulk) -> Result<Duration> {
    let next = bulk.speed.rate.map_or(Duration::ZERO, Rate::interval);
    Ok(bulk.speed.wait + next + session.config.rests()?)
}

/// Shows how far it is until it ends. `patience`: how long nothing may move.
pub async fn watch(session: &Session, replay: Uuid, patience: Option<Duration>) -> Result<ExitCode> {
    let progress = ProgressLine::new();
    let mut before = None;
    let mut moved_at = Instant::now();
    loop {
        let line = one(session, replay).await?;
        let done = line.resolved + line.dead_again + line.released;
        progress.show("replayed", done, line.total.into());
        let now = (line.state.clone(), line.waiting, line.published, done);
        if before.as_ref() != Some(&now) {
            moved_at = Instant::now();
            before = Some(now);
        }
        let ended = line.ended_at.is_some() && line.published == 0;
        let stuck = patience.filter(|patience| moved_at.elapsed() > *patience && line.state != "paused");
        if ended || stuck.is_some() {
            progress.clear();
            return tell(session, &line, stuck.filter(|_| !ended));
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => {
                progress.clear();
                match session.json {
                    true => say_json(&line)?,
                    false => say(&format!("Replay {replay} goes on without you: `bursar dlq replays {replay}`, `bursar dlq cancel {replay}`.")),
                }
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

/// `stuck`: how long nothing has moved, where it did not end.
fn tell(session: &Session, line: &ReplayLine, stuck: Option<Duration>) -> Result<ExitCode> {
    let good = stuck.is_none() && line.resolved == i64::from(line.total);
    if session.json {
        let mut document = serde_json::to_value(line)?;
        document["stuck"] = json!(stuck.is_some());
        say_json(&document)?;
    } else {
        say(&format!(
            "Replay {}, {}: {} of {} resolved, {} dead again, {} given back.",
            line.replay,
            line.state,
            line.resolved,
            line.total,
            line.dead_again,
            given_back(line)
        ));
        if line.released > 0 {
            say(
                "Those that were given back are open, as they were: `bursar dlq show` says in which queue each lay. One whose queue is not there cannot be replayed, only discarded.",
            );
        }
        if line.dead_again > 0 {
            say(&format!(
                "Those that died again are open, as new letters: `bursar dlq groups --since {}`.",
                moment_text(line.started_at)
            ));
        }
    }
    if let (Some(stuck), false) = (stuck, session.json) {
        bail!(
            "nothing has moved for {} (--wait, and as long as a message may rest between its attempts: {} waiting, {} put back and not settled): is the fleet running, the dead-letters worker among it? The replay goes on by itself: `bursar dlq replays {} --watch`",
            humantime::format_duration(stuck),
            line.waiting,
            line.published,
            line.replay
        );
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn moment_text(at: OffsetDateTime) -> String {
    at.replace_nanosecond(0)
        .unwrap_or(at)
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap_or_default()
}
