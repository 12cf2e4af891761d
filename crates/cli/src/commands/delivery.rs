//! `delivery`: the stored body of a delivery, apart from its fact because it may name people.

use super::{say, say_json};
use crate::session::Session;
use anyhow::{Result, anyhow};
use clap::Subcommand;
use db::Doing;
use domain::Cause;
use serde_json::json;
use std::process::ExitCode;

#[derive(Subcommand)]
pub enum DeliveryCommand {
    /// Print the body as it came
    Show {
        /// As causes are written: paddle/evt_01h8...
        cause: String,
    },
    /// Erase the body for good; the fact, the journal and their proofs stay
    Erase {
        /// As causes are written: paddle/evt_01h8...
        cause: String,
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
                false => say(&body),
            }
        }
        DeliveryCommand::Erase { cause } => {
            let cause = parse(&cause)?;
            if !gate::erase(&mut connection, &cause).await? {
                return Ok(absent(&cause));
            }
            say(&format!("Erased the body of {cause}."));
        }
    }
    Ok(ExitCode::SUCCESS)
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
