//! What a replay would change.

use super::agreed::{otherwise, refused};
use super::list::{replaying, tell_replaying};
use super::which::WhichLetters;
use crate::output::listing::oldest_of;
use crate::output::table::Style;
use crate::output::{say, say_json};
use crate::plan::{self, Replayed, Verdict};
use crate::session::Session;
use crate::workers;
use anyhow::Result;
use clap::Args;
use db::Doing;
use dead_letters::read::{self, Filter, LetterState, StoredMessage};
use serde_json::json;
use std::process::ExitCode;

pub const HELP: &str = "\
The letters are decided one after the other, oldest first, by the workers of this binary with this command's configuration: what they post, tell and publish is shown, then everything is rolled back. The live fleet waits for the rows a plan holds, at most for some seconds. A fact that the gate knows already and that was never applied is called so, with its own letter. Exit status 1 if one of them would not be applied.";

/// A plan holds the rows that it looks at until it ends.
const MAX: i64 = 500;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    which: WhichLetters,
    /// All of them, as where nothing else is said
    #[arg(long)]
    all: bool,
    /// So many at most, the oldest
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=MAX))]
    max: i64,
    /// Everything that each message would change
    #[arg(long)]
    details: bool,
}

pub async fn plan(session: &Session, arguments: &Arguments) -> Result<ExitCode> {
    let filter = arguments.which.filter();
    if let Some(error) = otherwise(session, &filter.letters, LetterState::Open).await? {
        return refused(session, error);
    }
    let found = read::count(&session.pool, &filter).await?;
    let (messages, nowhere) = messages(session, &filter, arguments.max).await?;
    let plan = plan::plan(session, &messages).await?;
    let fails = !nowhere.is_empty()
        || plan.messages.iter().any(|message| message.verdict >= Verdict::KnownNotApplied);
    if session.json {
        say_json(
            &json!({ "found": found, "planned": messages.len(), "without_queue": nowhere, "plan": plan }),
        )?;
        return Ok(if fails { ExitCode::from(1) } else { ExitCode::SUCCESS });
    }
    if messages.is_empty() && nowhere.is_empty() {
        say("No open dead letters here: nothing to plan.");
        tell_replaying(replaying(session, &filter).await?);
        return Ok(ExitCode::SUCCESS);
    }
    say(&plan.text(arguments.details));
    if !nowhere.is_empty() {
        say(&format!("{} have no queue to go back to: {}", nowhere.len(), nowhere.join(", ")));
    }
    if found > (messages.len() + nowhere.len()) as i64 {
        let found = found.to_string();
        say(&Style::Dim.paint(&oldest_of(messages.len(), &found, "", MAX as usize)));
    }
    tell_replaying(replaying(session, &filter).await?);
    Ok(if fails { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The messages as a replay would put them back, and the letters that have no queue to go back to.
async fn messages(session: &Session, filter: &Filter, max: i64) -> Result<(Vec<Replayed>, Vec<String>)> {
    let mut connection = session.pool.acquire().await.doing("taking a connection")?;
    let stored = read::stored(&mut connection, filter, max).await?;
    let (known, nowhere): (Vec<StoredMessage>, Vec<StoredMessage>) =
        stored.into_iter().partition(|stored| workers::is_decided(&stored.queue));
    let replayed = |stored: StoredMessage| Replayed {
        label: stored.letter.to_string(),
        queue: stored.queue,
        message: stored.message,
    };
    let nowhere = nowhere.iter().map(|stored| stored.letter.to_string()).collect();
    Ok((known.into_iter().map(replayed).collect(), nowhere))
}
