//! `unrecognised`: deliveries that nobody understood when they came. A newer version may: then they are admitted anew.
//!
//! They are looked through page by page, each translated by today's code: memory stays flat however many there are.

mod list;
mod plan;
mod replay;
mod which;

use crate::session::Session;
use anyhow::Result;
use clap::Subcommand;
use std::process::ExitCode;
use which::WhichUnrecognised;

#[derive(Subcommand)]
pub enum UnrecognisedCommand {
    /// What was not understood, by processor, event type and reason, and how much of it today's code understands
    List {
        #[command(flatten)]
        which: WhichUnrecognised,
        /// Each by itself, the oldest first
        #[arg(long)]
        each: bool,
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        limit: u64,
    },
    /// What a replay would change, by the fleet's own code in a transaction that is rolled back; writes nothing
    #[command(after_help = plan::HELP)]
    Plan(plan::PlanUnrecognised),
    /// Hand what today's code understands through the front door again, the oldest first; safe to repeat
    #[command(after_help = replay::HELP)]
    Replay(replay::Arguments),
}

pub async fn run(session: &Session, command: UnrecognisedCommand) -> Result<ExitCode> {
    match command {
        UnrecognisedCommand::List { which, each: false, limit } => {
            list::groups(session, &which, limit as usize).await
        }
        UnrecognisedCommand::List { which, each: true, limit } => {
            list::each(session, &which, limit as usize).await
        }
        UnrecognisedCommand::Plan(arguments) => plan::plan(session, &arguments).await,
        UnrecognisedCommand::Replay(arguments) => replay::replay(session, &arguments).await,
    }
}
