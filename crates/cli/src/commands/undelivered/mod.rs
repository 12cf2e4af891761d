//! `payment undelivered`: payments that were paid and gave no credits, all of a kind at once. Once what was missing is
//! there, a price in the catalog above all, they are delivered as an operator would deliver each: by an act of its own.

mod deliver;
mod list;
mod plan;
mod which;

use crate::session::Session;
use anyhow::Result;
use clap::Subcommand;
use std::process::ExitCode;
use which::WhichUndelivered;

#[derive(Subcommand)]
pub enum UndeliveredCommand {
    /// By why and price: how many, since when, what was paid, and how many of them today's configuration would deliver
    List {
        #[command(flatten)]
        which: WhichUndelivered,
        /// Each by itself, the oldest first
        #[arg(long)]
        each: bool,
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        limit: u64,
    },
    /// What delivering them would change, by the fleet's own code in a transaction that is rolled back; writes nothing
    Plan(plan::PlanUndelivered),
    /// Deliver those that today's configuration knows the worth of, the oldest first; safe to repeat
    #[command(after_help = deliver::HELP)]
    Deliver(deliver::Arguments),
}

pub async fn run(session: &Session, command: UndeliveredCommand) -> Result<ExitCode> {
    match command {
        UndeliveredCommand::List { which, each, limit } => {
            list::list(session, &which, each, limit as usize).await
        }
        UndeliveredCommand::Plan(arguments) => plan::plan(session, &arguments).await,
        UndeliveredCommand::Deliver(arguments) => deliver::deliver(session, &arguments).await,
    }
}
