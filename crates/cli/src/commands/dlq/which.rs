//! Which dead letters a command is about.

use crate::commands::moment::said_moment_or_ago;
use crate::session::Session;
use anyhow::Result;
use clap::{ArgGroup, Args};
use dead_letters::acts;
use dead_letters::read::{self, Filter, LetterLine, LetterState};
use time::OffsetDateTime;
use uuid::Uuid;

/// WhichLetters dead letters: those that fit everything that is said.
#[derive(Args, Clone, Debug)]
pub struct WhichLetters {
    /// By their ids
    pub letters: Vec<Uuid>,
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
    #[arg(long, value_name = "TIME", value_parser = said_moment_or_ago)]
    since: Option<OffsetDateTime>,
    /// Dead before then
    #[arg(long, value_name = "TIME", value_parser = said_moment_or_ago)]
    until: Option<OffsetDateTime>,
    /// With this somewhere in the reason or the body
    #[arg(long, value_parser = something)]
    text: Option<String>,
}

/// WhichLetters dead letters to do something with: nobody means all by saying nothing.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("meant").required(true).multiple(true)
    .args(["letters", "worker", "fact_type", "code", "group", "account", "event", "since", "until", "text", "all"]))]
pub struct Chosen {
    #[command(flatten)]
    which: WhichLetters,
    /// All of them
    #[arg(long)]
    all: bool,
}

impl Chosen {
    pub fn filter(&self) -> Filter {
        self.which.filter()
    }
}

impl WhichLetters {
    pub fn filter(&self) -> Filter {
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

    pub fn filter_in(&self, states: &[LetterState]) -> Filter {
        match states {
            // What is named is looked up wherever it stands.
            [] if !self.letters.is_empty() => Filter { states: LetterState::ALL.to_vec(), ..self.filter() },
            [] => self.filter(),
            states => Filter { states: states.to_vec(), ..self.filter() },
        }
    }
}

/// A filter that says nothing would fit everything.
fn something(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("expected something to look for, got nothing".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// Letters by their ids, each where it stands.
pub async fn named(session: &Session, letters: &[Uuid]) -> Result<Vec<LetterLine>> {
    if letters.is_empty() {
        return Ok(Vec::new());
    }
    let filter = Filter { letters: letters.to_vec(), states: LetterState::ALL.to_vec(), ..Filter::default() };
    Ok(read::letters(&session.pool, &filter, letters.len() as i64).await?)
}

/// An id that nobody knows is an error, and nothing that merely does not fit.
pub async fn known(session: &Session, letters: &[Uuid]) -> Result<()> {
    let found = named(session, letters).await?;
    match letters.iter().find(|id| !found.iter().any(|line| line.letter == **id)) {
        Some(letter) => Err(acts::ActError::Unknown(*letter).into()),
        None => Ok(()),
    }
}
