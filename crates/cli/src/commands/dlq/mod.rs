//! `dlq`: dead letters. Look, see what a replay would change, then act; whatever is done is in the audit.

mod audit;
mod body;
mod close;
mod direct;
mod document;
mod edit;
mod export;
mod list;
mod locks;
mod plan;
mod replay;
mod show;

use super::act::{By, name, reason};
use super::bulk::Agreement;
use super::{say, say_json};
use crate::config::duration;
use crate::session::Session;
use anyhow::{Result, anyhow};
use clap::{ArgGroup, Args, Subcommand};
use dead_letters::acts;
use dead_letters::read::{self, Filter, LetterLine, State};
use domain::calendar::in_utc;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

#[derive(Subcommand)]
pub enum DlqCommand {
    /// Dead letters, the oldest first: those that are open, unless a state is asked for
    List {
        #[command(flatten)]
        which: Which,
        /// In these states instead: open, replaying, resolved, dead_again, edited, discarded
        #[arg(long = "state", value_name = "STATE")]
        states: Vec<State>,
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Open dead letters by their cause: worker, type of fact, code and reason, with what is at stake
    Groups {
        #[command(flatten)]
        which: Which,
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
    Replay(replay::Arguments),
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
    Release {
        #[command(flatten)]
        of: OfReplay,
        /// Only those put back longer ago than this
        #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
        older_than: std::time::Duration,
    },
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
        #[arg(value_parser = note)]
        text: String,
        #[command(flatten)]
        by: By,
    },
    /// Write dead letters out whole, one JSON document a line (with --json to standard output: one array), bodies in base64
    Export {
        #[command(flatten)]
        which: Which,
        /// In these states instead of open
        #[arg(long = "state", value_name = "STATE")]
        states: Vec<State>,
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
    Drain(direct::Arguments),
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

/// Which dead letters: those that fit everything that is said.
#[derive(Args, Clone, Debug)]
pub struct Which {
    /// By their ids
    letters: Vec<Uuid>,
    /// Given up on by this worker
    #[arg(long, value_name = "WORKER", value_parser = something)]
    worker: Option<String>,
    /// Of this type of fact: fact.payment
    #[arg(long = "type", value_name = "TYPE", value_parser = something)]
    fact_type: Option<String>,
    /// With this code: unknown, panic, conflict, malformed
    #[arg(long, value_parser = something)]
    code: Option<String>,
    /// Of this kind, by its fingerprint: see `bursar dlq groups`
    #[arg(long, value_name = "FINGERPRINT", value_parser = something)]
    group: Option<String>,
    /// About this account
    #[arg(long, value_parser = something)]
    account: Option<String>,
    /// Of this event: its id, its cause (paddle/evt_01h8...), or the message's id
    #[arg(long, value_parser = something)]
    event: Option<String>,
    /// Dead since then: 2h ago, or a time such as 2026-11-20T10:00:00Z
    #[arg(long, value_name = "TIME", value_parser = then)]
    since: Option<OffsetDateTime>,
    /// Dead before then
    #[arg(long, value_name = "TIME", value_parser = then)]
    until: Option<OffsetDateTime>,
    /// With this somewhere in the reason or the body
    #[arg(long, value_parser = something)]
    text: Option<String>,
}

/// Which dead letters to do something with: nobody means all by saying nothing.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("meant").required(true).multiple(true)
    .args(["letters", "worker", "fact_type", "code", "group", "account", "event", "since", "until", "text", "all"]))]
pub struct Chosen {
    #[command(flatten)]
    which: Which,
    /// All of them
    #[arg(long)]
    all: bool,
}

impl Chosen {
    fn filter(&self) -> Filter {
        self.which.filter()
    }
}

fn note(text: &str) -> Result<String, String> {
    reason(text).map_err(|_| "expected what is to be known, got nothing".to_owned())
}

/// A filter that says nothing would fit everything.
fn something(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("expected something to look for, got nothing".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

fn then(text: &str) -> Result<OffsetDateTime, String> {
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        return in_utc(at).map_err(|why| format!("{why}: {text:?}"));
    }
    let ago = text.trim().trim_end_matches("ago").trim();
    duration(ago)
        .ok()
        .and_then(|ago| OffsetDateTime::now_utc().checked_sub(ago.try_into().ok()?))
        .ok_or_else(|| format!("expected a time such as 2026-11-20T10:00:00Z or 2h, got {text:?}"))
}

impl Which {
    fn filter(&self) -> Filter {
        Filter {
            letters: self.letters.clone(),
            worker: self.worker.clone(),
            fact_type: self.fact_type.clone(),
            code: self.code.clone(),
            fingerprint: self.group.clone(),
            account: self.account.clone(),
            event: self.event.clone(),
            since: self.since,
            until: self.until,
            text: self.text.clone(),
            ..Filter::default()
        }
    }

    fn filter_in(&self, states: &[State]) -> Filter {
        match states {
            // What is named is looked up wherever it stands.
            [] if !self.letters.is_empty() => Filter { states: State::ALL.to_vec(), ..self.filter() },
            [] => self.filter(),
            states => Filter { states: states.to_vec(), ..self.filter() },
        }
    }
}

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

pub async fn run(session: &Session, command: DlqCommand) -> Result<ExitCode> {
    let now = OffsetDateTime::now_utc();
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
        DlqCommand::Replays { replay, limit, .. } => replay::list(session, replay, limit).await,
        DlqCommand::Pause(of) => {
            acts::pause(&session.pool, of.replay, &of.by()?, now).await?;
            done(
                session,
                &format!("Replay {} is paused: `bursar dlq resume {0}` lets it go on.", of.replay),
                json!({ "replay": of.replay, "state": "paused" }),
            )
        }
        DlqCommand::Resume(of) => {
            acts::resume(&session.pool, of.replay, &of.by()?, now).await?;
            done(
                session,
                &format!("Replay {} goes on.", of.replay),
                json!({ "replay": of.replay, "state": "running" }),
            )
        }
        DlqCommand::Cancel(of) => {
            let released = acts::cancel(&session.pool, of.replay, &of.by()?, now).await?;
            done(
                session,
                &format!(
                    "Replay {} is cancelled; {released} that had not gone out are open again.",
                    of.replay
                ),
                json!({ "replay": of.replay, "state": "cancelled", "released": released }),
            )
        }
        DlqCommand::Release { of, older_than } => {
            replay::one(session, of.replay).await?;
            let before = now - older_than;
            let released = acts::release(&session.pool, of.replay, before, &of.by()?, now).await?;
            let left = replay::one(session, of.replay).await?.published;
            let younger = match left {
                0 => String::new(),
                left => format!(
                    " {left} were put back within the last {}: wait for them, or say less with --older-than.",
                    humantime::format_duration(older_than)
                ),
            };
            done(
                session,
                &format!("{released} of replay {} are open again.{younger}", of.replay),
                json!({ "replay": of.replay, "released": released, "younger": left }),
            )
        }
        DlqCommand::Edit(arguments) => edit::edit(session, &arguments).await,
        DlqCommand::Discard { which, agreement, reason } => {
            close::discard(session, &which, &agreement, reason).await
        }
        DlqCommand::Undo { which, agreement, reason } => {
            close::undo(session, &which, &agreement, reason).await
        }
        DlqCommand::Note { about, text, by } => {
            let written = acts::note(&session.pool, &subject(&about), &by.name()?, &text, now).await;
            written.map_err(|error| match error {
                acts::Error::Nothing { .. } => {
                    anyhow!(
                        "expected a letter's id or a kind's fingerprint, got {about}: see `bursar dlq groups`"
                    )
                }
                error => error.into(),
            })?;
            done(session, "Noted.", json!({ "about": about, "note": text }))
        }
        DlqCommand::Export { which, states, to, by } => {
            known(session, &which.letters).await?;
            export::export(session, &which.filter_in(&states), to, &by.name()?).await
        }
        DlqCommand::Audit { about, by, limit } => audit::list(session, about.as_deref(), by, limit).await,
        DlqCommand::Drain(arguments) => direct::drain(session, &arguments).await,
        DlqCommand::Import { file, by } => direct::import(session, &file, &by.name()?).await,
    }
}

/// A letter by its id, else a kind by its fingerprint.
fn subject(about: &str) -> acts::About {
    about.parse().map_or_else(|_| acts::About::Fingerprint(about.to_owned()), acts::About::Letter)
}

fn done(session: &Session, text: &str, document: serde_json::Value) -> Result<ExitCode> {
    match session.json {
        true => say_json(&document)?,
        false => say(text),
    }
    Ok(ExitCode::SUCCESS)
}

/// An act that found other letters than it was told to find: it did nothing, exit status 2.
fn refused(session: &Session, error: acts::Error) -> Result<ExitCode> {
    match error {
        acts::Error::Count { .. } | acts::Error::Nothing { .. } | acts::Error::Otherwise { .. } => {
            match session.json {
                true => say_json(&json!({ "done": 0, "error": error.to_string() }))?,
                false => say(&format!("Nothing was done: {error}.")),
            }
            Ok(ExitCode::from(2))
        }
        acts::Error::Database(_)
        | acts::Error::Unknown(_)
        | acts::Error::Erased(_)
        | acts::Error::Nobody
        | acts::Error::Replay { .. } => Err(error.into()),
    }
}

/// Letters by their ids, each where it stands.
async fn named(session: &Session, letters: &[Uuid]) -> Result<Vec<LetterLine>> {
    if letters.is_empty() {
        return Ok(Vec::new());
    }
    let filter = Filter { letters: letters.to_vec(), states: State::ALL.to_vec(), ..Filter::default() };
    Ok(read::letters(&session.pool, &filter, letters.len() as i64).await?)
}

/// An id that nobody knows is an error, and nothing that merely does not fit.
async fn known(session: &Session, letters: &[Uuid]) -> Result<()> {
    let found = named(session, letters).await?;
    match letters.iter().find(|id| !found.iter().any(|line| line.letter == **id)) {
        Some(letter) => Err(acts::Error::Unknown(*letter).into()),
        None => Ok(()),
    }
}

/// Whether each of the letters that were named is in a state; who comes second is told where they are instead.
async fn otherwise(session: &Session, letters: &[Uuid], wanted: State) -> Result<Option<acts::Error>> {
    known(session, letters).await?;
    let other = named(session, letters).await?.into_iter().find(|line| line.state != wanted.as_str());
    Ok(other.map(|line| acts::Error::Otherwise { letter: line.letter, wanted, state: line.state }))
}

/// How many letters an act is about; it must be what somebody has seen. Nothing where it is not.
async fn agreed(
    session: &Session,
    filter: &Filter,
    agreement: &Agreement,
    question: &str,
) -> Result<Option<i64>> {
    let wanted = filter.states.first().copied().unwrap_or(State::Open);
    if let Some(error) = otherwise(session, &filter.letters, wanted).await? {
        refused(session, error)?;
        return Ok(None);
    }
    let found = read::count(&session.pool, filter).await?;
    let of = agreement.of(usize::try_from(found).map_err(|_| anyhow!("{found} letters"))?);
    let question = format!("Found {found}. {}", question.replace("{}", &of.to_string()));
    let why = match agreement.consent(found as usize, &question) {
        super::bulk::Consent::Given => return Ok(Some(of as i64)),
        super::bulk::Consent::Refused(why) => why,
    };
    let elsewhere = match found {
        0 => elsewhere(session, filter, wanted).await?,
        _ => None,
    };
    match session.json {
        true => say_json(&json!({ "found": found, "done": 0, "error": why, "elsewhere": elsewhere }))?,
        false => {
            let elsewhere = elsewhere.map(|text| format!(" {text}.")).unwrap_or_default();
            say(&format!("Nothing was done: {why}.{elsewhere}"));
        }
    }
    Ok(None)
}

/// Where those are that fit a filter and are not in the state that is wanted: somebody else was first.
async fn elsewhere(session: &Session, filter: &Filter, wanted: State) -> Result<Option<String>> {
    let mut counts = Vec::new();
    for state in State::ALL.into_iter().filter(|state| *state != wanted) {
        let filter = Filter { states: vec![state], ..filter.clone() };
        let count = read::count(&session.pool, &filter).await?;
        let by = match (count, state) {
            (0, _) => continue,
            (_, State::Replaying) => replayed_by(session, &filter).await?,
            _ => None,
        };
        counts.push(format!("{count} {state}{}", by.unwrap_or_default()));
    }
    let all = counts.join(", ");
    Ok(Some(all).filter(|all| !all.is_empty()).map(|all| format!("Of those that fit are {all}")))
}

async fn replayed_by(session: &Session, filter: &Filter) -> Result<Option<String>> {
    let Some(line) = read::letters(&session.pool, filter, 1).await?.pop() else { return Ok(None) };
    let Some(view) = read::letter(&session.pool, line.letter).await? else { return Ok(None) };
    let Some(last) = view.replays.last() else { return Ok(None) };
    let replay = replay::one(session, last.replay).await?;
    Ok(Some(format!(" (by {}, in replay {})", replay.by, replay.replay)))
}
