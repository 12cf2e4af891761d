//! `dlq`: dead letters. Look, see what a replay would change, then act; whatever is done is in the audit.

mod agreed;
mod audit;
mod body;
mod close;
mod direct;
mod document;
mod edit;
mod export;
mod list;
mod locks;
mod notes;
mod plan;
mod replay;
mod replays;
mod show;
mod which;

pub use notes::note_text;

use super::act::{By, name, reason};
use super::bulk::Agreement;
use crate::session::Session;
use anyhow::Result;
use clap::Subcommand;
use dead_letters::read::LetterState;
use replays::OfReplay;
use std::path::PathBuf;
use std::process::ExitCode;
use uuid::Uuid;
use which::{Chosen, WhichLetters, known};

#[derive(Subcommand)]
pub enum DlqCommand {
    /// Dead letters, the oldest first: those that are open, unless a state is asked for
    List {
        #[command(flatten)]
        which: WhichLetters,
        /// In these states instead: open, replaying, resolved, dead_again, edited, discarded
        #[arg(long = "state", value_name = "STATE")]
        states: Vec<LetterState>,
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Open dead letters by their cause: worker, type of fact, code and reason, with what is at stake
    Groups {
        #[command(flatten)]
        which: WhichLetters,
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// One dead letter: why, everything that was tried, what it says, and what the ledger knows of it
    Show {
        /// Its id
        letter: Uuid,
    },
    /// What a replay would change, by the fleet's own code in a transaction that is rolled back; writes nothing
    #[command(after_help = plan::HELP)]
    Plan(plan::Arguments),
    /// Put messages back into the queues they came from, the oldest first
    #[command(after_help = replay::HELP)]
    Replay(replay::ReplayArguments),
    /// Replays and how far they are, the latest first
    Replays {
        /// Only this one
        replay: Option<Uuid>,
        /// Stay until it ends
        #[arg(long, requires = "replay")]
        watch: bool,
        /// How many at most
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Hold a replay: nothing more goes out
    Pause(OfReplay),
    /// Let a paused replay go on
    Resume(OfReplay),
    /// End a replay: what has not gone out is open again, what has keeps its way
    Cancel(OfReplay),
    /// Open messages again that a replay put back and whose outcome never came, because somebody purged their queue
    Release(replays::Release),
    /// Have a dead letter go on as another one that says something else; off unless it is configured
    #[command(after_help = edit::HELP)]
    Edit(edit::Arguments),
    /// Close dead letters that nothing is to be done about; can be undone until their retention is over
    Discard {
        #[command(flatten)]
        which: Chosen,
        #[command(flatten)]
        agreement: Agreement,
        /// Why nothing is to be done
        #[arg(long, value_parser = reason)]
        reason: String,
    },
    /// Open discarded dead letters again
    Undo {
        #[command(flatten)]
        which: Chosen,
        #[command(flatten)]
        agreement: Agreement,
        /// Why they are taken back
        #[arg(long, value_parser = reason)]
        reason: Option<String>,
    },
    /// Write something down about a dead letter, or about all of a kind; `dlq show` and `dlq audit` have it
    Note {
        /// A dead letter's id, or a kind's fingerprint
        about: String,
        /// What is to be known
        #[arg(value_parser = notes::note_text)]
        text: String,
        #[command(flatten)]
        by: By,
    },
    /// Write dead letters out whole, one JSON document a line (with --json to standard output: one array), bodies in base64
    Export {
        #[command(flatten)]
        which: WhichLetters,
        /// In these states instead of open
        #[arg(long = "state", value_name = "STATE")]
        states: Vec<LetterState>,
        /// Into this new file, readable by its owner alone, instead of standard output
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        #[command(flatten)]
        by: By,
    },
    /// What was done, by whom and why, the latest first
    Audit {
        /// Only what concerns this dead letter or replay, by its id, or a kind, by its fingerprint: its notes, too
        about: Option<String>,
        /// Only this operator's
        #[arg(long, value_name = "NAME", value_parser = name)]
        by: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Take dead letters straight out of the queue, for the day Postgres is what is down
    #[command(after_help = direct::HELP)]
    Drain(direct::DrainArguments),
    /// Give what `drain --to` wrote back to the queue of dead letters
    Import {
        /// A file that `drain --to` wrote
        file: PathBuf,
        #[command(flatten)]
        by: By,
    },
}

impl DlqCommand {
    pub fn needs_postgres(&self) -> bool {
        !matches!(self, DlqCommand::Drain(_) | DlqCommand::Import { .. })
    }
}

pub async fn run(session: &Session, command: DlqCommand) -> Result<ExitCode> {
    match command {
        DlqCommand::List { which, states, limit } => {
            known(session, &which.letters).await?;
            list::letters(session, &which.filter_in(&states), limit).await
        }
        DlqCommand::Groups { which, limit } => {
            known(session, &which.letters).await?;
            list::groups(session, &which.filter(), limit).await
        }
        DlqCommand::Show { letter } => show::show(session, letter).await,
        DlqCommand::Plan(arguments) => plan::plan(session, &arguments).await,
        DlqCommand::Replay(arguments) => replay::start(session, &arguments).await,
        DlqCommand::Replays { replay: Some(replay), watch: true, .. } => {
            replay::watch(session, replay, None).await
        }
        DlqCommand::Replays { replay, limit, .. } => replays::list(session, replay, limit).await,
        DlqCommand::Pause(of) => replays::pause(session, &of).await,
        DlqCommand::Resume(of) => replays::resume(session, &of).await,
        DlqCommand::Cancel(of) => replays::cancel(session, &of).await,
        DlqCommand::Release(arguments) => replays::release(session, &arguments).await,
        DlqCommand::Edit(arguments) => edit::edit(session, &arguments).await,
        DlqCommand::Discard { which, agreement, reason } => {
            close::discard(session, &which, &agreement, reason).await
        }
        DlqCommand::Undo { which, agreement, reason } => {
            close::undo(session, &which, &agreement, reason).await
        }
        DlqCommand::Note { about, text, by } => notes::write(session, &about, &text, &by).await,
        DlqCommand::Export { which, states, to, by } => {
            known(session, &which.letters).await?;
            export::export(session, &which.filter_in(&states), to, &by.name()?).await
        }
        DlqCommand::Audit { about, by, limit } => audit::list(session, about.as_deref(), by, limit).await,
        DlqCommand::Drain(arguments) => direct::drain(session, &arguments).await,
        DlqCommand::Import { file, by } => direct::import(session, &file, &by.name()?).await,
    }
}
