//! `delivery`: the stored body of a delivery, apart from its fact because it may name people.

use super::act::By;
use super::{say, say_json};
use crate::session::Session;
use crate::visible;
use anyhow::{Result, anyhow};
use clap::Subcommand;
use db::Doing;
use dead_letters::acts::{self, Erased};
use domain::Cause;
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
    /// Erase the body for good, also from dead letters that are closed; the fact, the journal and their proofs stay
    Erase {
        /// As causes are written: paddle/evt_01h8...
        cause: String,
        #[command(flatten)]
        by: By,
    },
}

pub async fn run(session: &Session, command: DeliveryCommand) -> Result<ExitCode> {
    let mut connection = session.pool.acquire().await.doing("taking a connection")?;
    match command {
        DeliveryCommand::Show { cause } => {
            let cause = parse(&cause)?;
            let Some(raw) = gate::raw_body(&mut connection, &cause).await? else { return Ok(absent(&cause)) };
            let body = String::from_utf8_lossy(&raw.body).into_owned();
            match session.json {
                true => say_json(&json!({ "cause": cause.to_string(), "body": body }))?,
                // A document stays one: what is hidden in it is escaped in its own way.
                false if serde_json::from_str::<IgnoredAny>(&body).is_ok() => say(&visible::json(&body)),
                false => say(&body),
            }
        }
        DeliveryCommand::Erase { cause, by } => {
            let (cause, by) = (parse(&cause)?, by.name()?);
            let was_stored = gate::erase(&mut connection, &cause).await?;
            let letters = acts::erase(&session.pool, &cause, &by, OffsetDateTime::now_utc()).await?;
            return tell(session, &cause, was_stored, &letters);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A letter that is not closed may still be replayed, and is left: then not everything is erased, and the status says so.
fn tell(session: &Session, cause: &Cause, was_stored: bool, letters: &Erased) -> Result<ExitCode> {
    let (emptied, left) = (&letters.emptied, &letters.left);
    if session.json {
        say_json(
            &json!({ "cause": cause.to_string(), "erased": was_stored, "letters_emptied": emptied, "letters_left": left }),
        )?;
    }
    if !was_stored && *letters == Erased::default() {
        return Ok(if session.json { ExitCode::from(1) } else { absent(cause) });
    }
    if !session.json {
        say(&text(cause, was_stored, letters));
    }
    Ok(if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn text(cause: &Cause, was_stored: bool, letters: &Erased) -> String {
    let mut lines = Vec::new();
    if was_stored {
        lines.push(format!("Erased the body of {cause}."));
    }
    if !letters.emptied.is_empty() {
        lines.push(format!("Erased what {} dead letters said of it.", letters.emptied.len()));
    }
    if !letters.left.is_empty() {
        let ids = letters.left.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        lines.push(format!(
            "{} dead letters still hold it, for they are not closed: replay them or `bursar dlq discard {ids} --reason <why>`, then erase again.",
            letters.left.len()
        ));
    }
    lines.join("\n")
}

fn absent(cause: &Cause) -> ExitCode {
    say(&format!("No body is stored for {cause}: it never came, was erased, or its retention is over."));
    ExitCode::from(1)
}

/// A cause ends with its id; a source may hold slashes of its own.
pub fn parse(text: &str) -> Result<Cause> {
    let (source, id) = text
        .rsplit_once('/')
        .ok_or_else(|| anyhow!("expected <source>/<id> such as paddle/evt_01h8, got {text:?}"))?;
    Ok(Cause { source: source.to_owned(), id: id.to_owned() })
}
