//! `fact show`: a stored fact, and everything that it brought about.

use super::{delivery, events};
use crate::output::journal::journal;
use crate::output::listing::{pairs, section};
use crate::output::table::{Style, moment, or_none};
use crate::output::{say, say_json};
use crate::session::Session;
use anyhow::Result;
use bus::Worker;
use clap::Subcommand;
use facts::outcomes::ReaderOutcome;
use ledger::Ledger;
use ledger::read::{self, FactView};
use serde_json::json;
use std::process::ExitCode;

#[derive(Subcommand)]
pub enum FactCommand {
    /// A stored fact: what it says, when it came and how often, what became of it and by which rules, and the transactions
    /// and events that it caused
    Show {
        /// As causes are written: paddle/evt_01h8..., operator/ada/adjust_0199...
        cause: String,
    },
}

pub async fn run(session: &Session, command: FactCommand) -> Result<ExitCode> {
    match command {
        FactCommand::Show { cause } => show(session, &cause).await,
    }
}

async fn show(session: &Session, text: &str) -> Result<ExitCode> {
    let cause = delivery::parse(text)?;
    let Some(view) = read::fact(&session.pool, &cause).await? else {
        match session.json {
            true => say_json(&json!({ "fact": cause.to_string(), "known": false }))?,
            false => say(&format!("No fact was admitted as {cause}. Causes are written <source>/<id>.")),
        }
        return Ok(ExitCode::from(1));
    };
    match session.json {
        true => say_json(&view)?,
        false => say(&fact_text(&view)?),
    }
    Ok(ExitCode::SUCCESS)
}

fn fact_text(view: &FactView) -> Result<String> {
    let mut lines = vec![
        ("kind", view.kind.clone()),
        ("time", moment(view.time)),
        ("admitted", moment(view.admitted_at)),
    ];
    lines.extend(view.recognised_at.map(|at| ("recognised", moment(at))));
    lines.extend(
        view.erased_at.map(|at| ("erased", format!("{}: what people wrote is gone for good", moment(at)))),
    );
    lines.extend(view.adds_to.clone().map(|fact| ("adds to", fact)));
    lines.push(("came again", format!("{} times", view.repeats)));
    match &view.settled {
        None => lines.push(("outcome", Style::Bad.paint("not settled by the ledger yet"))),
        Some(settled) => {
            lines.push(("outcome", settled.outcome.clone()));
            lines.push(("settled", format!("{}, position {}", moment(settled.settled_at), settled.position)));
            lines.push(("payment", or_none(settled.payment.as_deref())));
            let rules = settled.rules.as_ref().map(|rules| rules.0.to_string());
            lines.push(("rules", or_none(rules.as_deref())));
        }
    }
    let is_others = |by: &&ReaderOutcome| by.reader != <Ledger as Worker>::NAME;
    let of_others = view.outcomes.iter().filter(is_others);
    lines.extend(
        of_others
            .map(|by| ("outcome", format!("{} at {}, {}", by.outcome, by.reader, moment(by.settled_at)))),
    );
    let said: serde_json::Value = serde_json::from_str(view.data.get())?;
    let mut parts = vec![
        Style::Bold.paint(&view.fact),
        pairs(&lines, 12),
        format!("\n{}\n{}", Style::Bold.paint("What it says"), serde_json::to_string_pretty(&said)?),
    ];
    parts.extend(section("Journal", &journal(&view.transactions)));
    if !view.events.is_empty() {
        let told: Vec<String> = view.events.iter().map(events::line).collect();
        parts.push(format!("\n{}\n{}", Style::Bold.paint("Events"), told.join("\n")));
    }
    Ok(parts.join("\n"))
}
