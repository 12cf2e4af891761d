//! `unrecognised plan`: what would become of what today's code understands, if it were replayed now.

use super::which::{WhichUnrecognised, look_through};
use crate::output::listing::oldest_of;
use crate::output::table::Style;
use crate::output::{say, say_json};
use crate::plan::{self, MESSAGES_MAX, Replayed, Verdict};
use crate::session::Session;
use anyhow::Result;
use bus::exchange;
use clap::Args;
use gate::Today;
use serde_json::json;
use std::ops::ControlFlow;
use std::process::ExitCode;

pub const HELP: &str = "\
The facts are decided one after the other, the oldest delivery first, by the workers of this binary with this command's configuration: what they post, tell and publish is shown, then everything is rolled back. The live fleet waits for the rows a plan holds, at most for some seconds. Exit status 1 if one of them would fail.";

#[derive(Args)]
pub struct PlanUnrecognised {
    #[command(flatten)]
    which: WhichUnrecognised,
    /// So many facts at most, those of the oldest deliveries
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=MESSAGES_MAX as u64))]
    max: u64,
    /// Everything that each fact would change
    #[arg(long)]
    details: bool,
}

pub async fn plan(session: &Session, arguments: &PlanUnrecognised) -> Result<ExitCode> {
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
        let found = format!("{} deliveries", wanted.found);
        say(&Style::Dim.paint(&oldest_of(wanted.planned, &found, " facts", MESSAGES_MAX)));
    }
    Ok(status)
}

/// What is to be planned of what was found.
#[derive(Default)]
struct ToBePlanned {
    /// Deliveries that today's code understands.
    found: usize,
    /// Those of them that the messages are of.
    planned: usize,
    messages: Vec<Replayed>,
}

/// What `replay` would send, the oldest first, as the gate would receive it, one fact in each message. At most `max` messages,
/// and no delivery in part.
async fn to_be_planned(session: &Session, which: &WhichUnrecognised, max: usize) -> Result<ToBePlanned> {
    let exchange = session.namespace()?.name(exchange::VERIFIED);
    let mut wanted = ToBePlanned::default();
    look_through(session, which, |delivery, today| {
        let Today::Understood(envelopes) = today else { return ControlFlow::Continue(()) };
        wanted.found += 1;
        // None after the first that does not fit: a replay begins with the oldest.
        let fits = wanted.planned + 1 == wanted.found && wanted.messages.len() + envelopes.len() <= max;
        if fits {
            wanted.planned += 1;
            wanted.messages.extend(
                envelopes
                    .iter()
                    .map(|envelope| Replayed::of_fact(delivery.cause.to_string(), &exchange, envelope)),
            );
        }
        ControlFlow::Continue(())
    })
    .await?;
    Ok(wanted)
}
