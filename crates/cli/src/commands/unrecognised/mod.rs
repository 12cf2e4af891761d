//! `unrecognised`: deliveries that nobody understood when they came. A newer version may: then they are admitted anew.
//!
//! They are looked through page by page, each translated by today's code: memory stays flat however many there are.

mod list;
mod plan;
mod replay;

use super::verify::ProgressLine;
use crate::plan::Replayed;
use crate::session::Session;
use anyhow::Result;
use bus::exchange;
use clap::{Args, Subcommand};
use db::Doing;
use gate::{Place, Today, UnrecognisedDelivery, UnrecognisedFilter};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::process::ExitCode;

#[derive(Subcommand)]
pub enum UnrecognisedCommand {
    /// What was not understood, by processor, event type and reason, and how much of it today's code understands
    List {
        #[command(flatten)]
        which: Which,
        /// Each by itself, the oldest first
        #[arg(long)]
        each: bool,
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        limit: u64,
    },
    /// What a replay would change, by the fleet's own code in a transaction that is rolled back; writes nothing
    #[command(after_help = plan::HELP)]
    Plan(plan::Arguments),
    /// Hand what today's code understands through the front door again, the oldest first; safe to repeat
    #[command(after_help = replay::HELP)]
    Replay(replay::Arguments),
}

/// Which deliveries.
#[derive(Args)]
pub struct Which {
    /// Only this processor's
    #[arg(long, value_name = "PROCESSOR")]
    processor: Option<String>,
    /// Only events of this type, by the processor's own name
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only this one, as causes are written (paddle/evt_01h8...) or by the event's id alone; may be given several times
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<String>,
}

impl Which {
    /// As the audit keeps it.
    fn document(&self) -> Value {
        json!({ "processor": self.processor, "type": self.event_type, "ids": self.ids })
    }

    fn filter(&self) -> UnrecognisedFilter {
        UnrecognisedFilter {
            processor: self.processor.clone(),
            event_type: self.event_type.clone(),
            ids: self.ids.clone(),
        }
    }
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

/// Deliveries read at a time: a body may have a megabyte.
const PAGE: usize = 50;

/// Shows each delivery to `look`, the oldest first, with what today's code makes of it, until it has seen enough.
async fn look_through(
    session: &Session,
    which: &Which,
    mut look: impl FnMut(UnrecognisedDelivery, Today) -> ControlFlow<()>,
) -> Result<()> {
    let (filter, settings) = (which.filter(), session.config.settings());
    let mut connection = session.pool.acquire().await.doing("taking a connection")?;
    let mut line = ProgressLine::new();
    let (mut place, mut seen) = (Place::beginning(), 0);
    loop {
        let page = gate::unrecognised(&mut connection, &filter, &place, PAGE as i64).await?;
        let is_last = page.len() < PAGE;
        seen += page.len() as u64;
        line.count("deliveries looked through", seen);
        if let Some(last) = page.last() {
            place = Place::after(last);
        }
        for delivery in page {
            let today = delivery.today(&settings);
            if look(delivery, today).is_break() {
                line.clear();
                return Ok(());
            }
        }
        if is_last {
            line.clear();
            return Ok(());
        }
    }
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
async fn to_be_planned(session: &Session, which: &Which, max: usize) -> Result<ToBePlanned> {
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
