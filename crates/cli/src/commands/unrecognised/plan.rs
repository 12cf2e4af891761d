//! `unrecognised plan`: what would become of what today's code understands, if it were replayed now.

use super::{Which, to_be_planned};
use crate::commands::{say, say_json};
use crate::plan::{self, MESSAGES_MAX, Verdict};
use crate::session::Session;
use crate::table::Style;
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::process::ExitCode;

pub const HELP: &str = "\
The facts are decided one after the other, the oldest delivery first, by the workers of this binary with this command's configuration: what they post, tell and publish is shown, then everything is rolled back. The live fleet waits for the rows a plan holds, at most for some seconds. Exit status 1 if one of them would fail.";

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    /// So many facts at most, those of the oldest deliveries
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=MESSAGES_MAX as u64))]
    max: u64,
    /// Everything that each fact would change
    #[arg(long)]
    details: bool,
}

pub async fn plan(session: &Session, arguments: &Arguments) -> Result<ExitCode> {
    let wanted = to_be_planned(session, &arguments.which, arguments.max as usize).await?;
    let plan = plan::plan(session, &wanted.messages).await?;
    let fails = plan.messages.iter().any(|message| message.verdict == Verdict::WouldFail);
    let status = if fails { ExitCode::from(1) } else { ExitCode::SUCCESS };
    if session.json {
        say_json(&json!({ "found": wanted.found, "planned": wanted.planned, "plan": plan }))?;
        return Ok(status);
    }
    if wanted.found == 0 {
        say("Nothing here that today's code understands: nothing to plan.");
        return Ok(status);
    }
    say(&plan.text(arguments.details));
    if wanted.found > wanted.planned {
        let of = format!(
            "The oldest {} of {} deliveries: --max plans more facts, up to {MESSAGES_MAX}.",
            wanted.planned, wanted.found
        );
        say(&Style::Dim.paint(&of));
    }
    Ok(status)
}
