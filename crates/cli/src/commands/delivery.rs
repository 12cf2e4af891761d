//! `delivery`: the stored body of a delivery, apart from its fact because it may name people.

use super::act::{By, reason};
use crate::output::{say, say_json};
use crate::session::Session;
use crate::visible;
use anyhow::{Result, anyhow};
use clap::Subcommand;
use db::Doing;
use dead_letters::acts::{self, Erased, Whose};
use domain::Cause;
use gate::erasure::{Erasure, Reached};
use serde::de::IgnoredAny;
use serde_json::json;
use std::process::ExitCode;
use time::OffsetDateTime;

#[derive(Subcommand)]
pub enum DeliveryCommand {
    /// Print the body as it came
    Show {
        /// As causes are written: paddle/evt_01h8...
        cause: String,
    },
    /// Erase the body and the texts of its fact for good, also from dead letters that are closed; what the fact is and did,
    /// the journal and their proofs stay
    Erase {
        /// As causes are written: paddle/evt_01h8...
        cause: String,
        /// Why; it stays in the list of erasures
        #[arg(long, value_parser = reason)]
        reason: Option<String>,
        #[command(flatten)]
        by: By,
    },
}

pub async fn run(session: &Session, command: DeliveryCommand) -> Result<ExitCode> {
    let mut connection = session.pool.acquire().await.doing("taking a connection")?;
    match command {
        DeliveryCommand::Show { cause } => {
            let cause = parse(&cause)?;
            let Some(raw) = gate::raw_body(&mut connection, &cause).await? else {
                return Ok(bodiless(&cause));
            };
            let body = String::from_utf8_lossy(&raw.body).into_owned();
            match session.json {
                true => say_json(&json!({ "cause": cause.to_string(), "body": body }))?,
                // A document stays one: what is hidden in it is escaped in its own way.
                false if serde_json::from_str::<IgnoredAny>(&body).is_ok() => say(&visible::json(&body)),
                false => say(&body),
            }
        }
        DeliveryCommand::Erase { cause, reason, by } => {
            drop(connection);
            return erase(session, &parse(&cause)?, reason, by.name()?).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn erase(session: &Session, cause: &Cause, reason: Option<String>, by: String) -> Result<ExitCode> {
    let erasure = Erasure { by, reason, about: format!("fact {cause}"), at: OffsetDateTime::now_utc() };
    let whose = Whose::Cause(cause.clone());
    let letters = acts::erase(&session.pool, &whose, &erasure.by, erasure.at).await?;
    let causes = std::slice::from_ref(cause);
    let reached = gate::erasure::erase(&session.pool, causes, letters.emptied.len() as u64, &erasure).await?;
    let nothing = reached.is_nothing() && letters.left.is_empty();
    if session.json {
        say_json(
            &json!({ "cause": cause.to_string(), "erased": reached.bodies > 0, "texts_erased": reached.facts > 0,
                          "letters_emptied": letters.emptied, "letters_left": letters.left }),
        )?;
    } else if nothing {
        return Ok(absent(cause));
    } else {
        say(&text(&format!("of {cause}"), &reached, &letters));
    }
    Ok(status(nothing, &letters))
}

/// Not everything is erased, or there was nothing to erase: the status says so.
pub fn status(nothing: bool, letters: &Erased) -> ExitCode {
    if nothing || !letters.left.is_empty() { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

/// What an erasure reached. A letter that is not closed may still be replayed, and is left.
pub fn text(of_whom: &str, reached: &Reached, letters: &Erased) -> String {
    let mut lines = Vec::new();
    let mut told = |count: u64, what: &str| {
        if count > 0 {
            lines.push(format!("Erased {what} {of_whom}: {count}."));
        }
    };
    told(reached.bodies, "bodies of deliveries");
    told(reached.facts, "the texts of facts");
    told(reached.letters, "what dead letters said");
    if !letters.left.is_empty() {
        let ids = letters.left.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        lines.push(format!(
            "{} dead letters still hold it, for they are not closed: replay them or `bursar dlq discard {ids} --reason <why>`, then erase again.",
            letters.left.len()
        ));
    }
    lines.join("\n")
}

fn bodiless(cause: &Cause) -> ExitCode {
    say(&format!("No body is stored for {cause}: it never came, was erased, or its retention is over."));
    ExitCode::from(1)
}

fn absent(cause: &Cause) -> ExitCode {
    say(&format!(
        "Nothing is stored in words of {cause}: it never came, was erased, or its retention is over."
    ));
    ExitCode::from(1)
}

/// A cause ends with its id; a source may hold slashes of its own.
pub fn parse(text: &str) -> Result<Cause> {
    let (source, id) = text
        .rsplit_once('/')
        .ok_or_else(|| anyhow!("expected <source>/<id> such as paddle/evt_01h8, got {text:?}"))?;
    Ok(Cause { source: source.to_owned(), id: id.to_owned() })
}
