//! `payment restate`: payments that were settled by what was understood, or configured, before are read as they are read
//! today. An act for each of them; what is known of the payment stays as it is, and the difference is posted in the journal as
//! that act's. Nothing is rewritten.

use super::act::reason;
use super::bulk::Bulk;
use super::bulk::acts::{Deed, Ends, NOT_KNOWN, assignment};
use crate::output::progress::ProgressLine;
use crate::output::table::{Column, Style, Table};
use crate::output::{say, say_json};
use crate::session::Session;
use anyhow::Result;
use clap::Args;
use domain::fact::AssignmentAct;
use domain::{Outcome, PaymentId};
use facts::outcomes::FactEnd;
use ledger::read::{self, Restatable, RestatableCursor};
use serde_json::json;
use std::process::ExitCode;

pub const HELP: &str = "\
What is found is what `bursar ledger rebuild --compare` names as read differently today; those that were granted by a rate that applies no longer only with --todays-catalog. To leave such a payment what it granted, say so: `bursar payment deliver <payment> --credits <credits> --reason ...`. Exit status 1 if something failed or is not known within --wait, 2 if not what was expected was found.";

const DEED: Deed = Deed { done: "restated", step: "payments restated" };

#[derive(Args)]
pub struct RestateArguments {
    /// Only these; without any, all that are read differently today
    payments: Vec<PaymentId>,
    /// Also those that were granted by a rate which today applies to purchases of credits alone: by the catalog of the day
    /// they grant none
    #[arg(long)]
    todays_catalog: bool,
    /// Show them and what each would be; change nothing
    #[arg(long)]
    plan: bool,
    /// Why; it stays in the journal's proof
    #[arg(long, value_parser = reason, required_unless_present = "plan")]
    reason: Option<String>,
    #[command(flatten)]
    bulk: Bulk,
}

pub async fn run(session: &Session, arguments: &RestateArguments) -> Result<ExitCode> {
    let found = find(session, arguments).await?;
    let Some(reason) = arguments.reason.as_ref().filter(|_| !arguments.plan) else {
        return plan(session, &found);
    };
    let (agreement, count) = (&arguments.bulk.agreement, found.len());
    let question = |now| format!("Found {count} that are read differently today. Restate {now} of them?");
    let Some(now) = DEED.agreed(session, agreement, count, question)? else {
        return Ok(ExitCode::from(2));
    };
    let by = agreement.by()?;
    let by_catalog: Vec<&PaymentId> =
        found.iter().filter(|found| found.by_todays_catalog).map(|found| &found.payment).collect();
    let restate = |payment: &PaymentId| {
        assignment(AssignmentAct::Restate, payment, by_catalog.contains(&payment), &by, reason)
    };
    let payments: Vec<PaymentId> = found.iter().take(now).map(|found| found.payment.clone()).collect();
    let tally = DEED.carry_out(session, &arguments.bulk, &payments, restate, judge).await?;
    tally.show(session, DEED, count)
}

/// Those that are meant, of all that are read differently today, by name.
async fn find(session: &Session, arguments: &RestateArguments) -> Result<Vec<Restatable>> {
    let (today, line) = (session.config.rules()?, ProgressLine::new());
    let (mut place, mut found) = (RestatableCursor::default(), Vec::new());
    let mut connection = read::snapshot(&session.pool).await?;
    while let Some(more) = read::restatable(&mut connection, &mut place, &today).await? {
        found.extend(more.into_iter().filter(|one| {
            let is_meant = arguments.payments.is_empty() || arguments.payments.contains(&one.payment);
            is_meant && (arguments.todays_catalog || !one.by_todays_catalog)
        }));
        line.count("reading payments as today", place.checked);
    }
    line.clear();
    Ok(found)
}

async fn judge(ends: &Ends<'_>) -> Result<Vec<Option<String>>> {
    let of = |(_, end): &(&PaymentId, Option<FactEnd>)| match end {
        Some(FactEnd::Settled(Outcome::Applied)) => None,
        Some(end) => Some(end.as_str().to_owned()),
        None => Some(NOT_KNOWN.to_owned()),
    };
    Ok(ends.iter().map(of).collect())
}

fn plan(session: &Session, found: &[Restatable]) -> Result<ExitCode> {
    if session.json {
        say_json(&json!({ "found": found.len(), "payments": found }))?;
    } else if found.is_empty() {
        say("No payment is read differently today.");
    } else {
        say(&format!("{}\n{}", table(found), Style::Bold.paint(&format!("{} in all.", found.len()))));
    }
    Ok(ExitCode::SUCCESS)
}

/// What each is and would be.
pub fn table(found: &[Restatable]) -> Table {
    let mut table = Table::new(&[
        Column::Text("payment"),
        Column::Decimal("granted"),
        Column::Decimal("today"),
        Column::Decimal("reversed"),
        Column::Decimal("today"),
        Column::Decimal("held"),
        Column::Decimal("today"),
        Column::Text("why"),
    ]);
    for Restatable { payment, why, stored, today, .. } in found {
        let pairs =
            [(stored.granted, today.granted), (stored.reversed, today.reversed), (stored.held, today.held)];
        let amounts = pairs.iter().flat_map(|(stored, today)| [stored.to_string(), today.to_string()]);
        table.row([payment.to_string()].into_iter().chain(amounts).chain([why.clone()]).collect());
    }
    table
}
