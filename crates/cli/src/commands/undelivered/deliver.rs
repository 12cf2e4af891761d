//! `payment undelivered deliver`: an act for each payment, through the front door like any other.
//!
//! What somebody else has delivered meanwhile is left alone, and an act that comes to a delivered payment moves nothing: so
//! what was broken off is begun again.

use super::{Which, act, deliverable, reason};
use crate::commands::bulk::{Bulk, Consent};
use crate::commands::bulk_acts::{self, NAMED_MAX, NOT_KNOWN, Outcomes, Tally};
use crate::commands::{say, say_json};
use crate::session::Session;
use crate::table::Style;
use anyhow::Result;
use clap::Args;
use domain::{Outcome, PaymentId};
use ledger::read;
use serde_json::json;
use std::process::ExitCode;

pub const HELP: &str = "\
What is found is what today's configuration knows the worth of; the fleet must have been started with it. A payment that is still undelivered after its act, or that the ledger refuses, is a failure. Exit status 1 if something failed or is not known within --wait, 2 if not what was expected was found.";

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    bulk: Bulk,
    /// Why; it stays in the journal's proof
    #[arg(long, value_parser = reason)]
    reason: String,
}

pub async fn deliver(session: &Session, arguments: &Arguments) -> Result<ExitCode> {
    let bulk = &arguments.bulk;
    let payments = deliverable(session, &arguments.which, usize::MAX).await?;
    let (found, now) = (payments.len(), bulk.agreement.of(payments.len()));
    if found > 0 || bulk.agreement.is_expecting() {
        let question =
            format!("Found {found} that today's configuration would deliver. Deliver {now} of them?");
        if let Consent::Refused(why) = bulk.agreement.consent(found, &question) {
            match session.json {
                true => say_json(&json!({ "found": found, "delivered": 0, "error": why }))?,
                false => say(&format!("Nothing was delivered: {why}. Found {found}.")),
            }
            return Ok(ExitCode::from(2));
        }
    }
    let tally = carry_out(session, arguments, &payments[..now]).await?;
    tell(session, found, &tally)
}

/// A payment that is delivered ended well, whoever delivered it.
async fn carry_out(session: &Session, arguments: &Arguments, payments: &[PaymentId]) -> Result<Tally> {
    let by = arguments.bulk.agreement.by()?;
    let deliver = |payment: &PaymentId| act(payment.clone(), &by, &arguments.reason);
    let judge = async |outcomes: &Outcomes<'_>| {
        let payments: Vec<PaymentId> = outcomes.iter().map(|(payment, _)| (*payment).clone()).collect();
        let delivered = read::delivered(&session.pool, &payments).await?;
        let of = |(payment, outcome): &(&PaymentId, Option<Outcome>)| match outcome {
            _ if delivered.contains(*payment) => None,
            Some(outcome) => Some(format!("{outcome}, and still undelivered")),
            None => Some(NOT_KNOWN.to_owned()),
        };
        Ok(outcomes.iter().map(of).collect())
    };
    bulk_acts::carry_out(session, &arguments.bulk, "payments delivered", payments, deliver, judge).await
}

fn tell(session: &Session, found: usize, tally: &Tally) -> Result<ExitCode> {
    let others = tally.others.iter().take(NAMED_MAX);
    if session.json {
        let others: Vec<_> =
            others.map(|(payment, became)| json!({ "payment": payment, "became": became })).collect();
        say_json(&json!({ "found": found, "delivered": tally.done, "others": tally.others.len(),
                          "others_first": others, "stopped": tally.stopped }))?;
    } else {
        let style = if tally.others.is_empty() { Style::Good } else { Style::Bad };
        say(&style.paint(&format!("{} delivered of {found} found.", tally.done)));
        others.for_each(|(payment, became)| {
            say(&format!("  {payment}: {became}; see bursar payment show {payment}"))
        });
        if let Some(why) = &tally.stopped {
            say(&format!("Stopped: {why}; the rest was left alone."));
        }
    }
    Ok(if tally.others.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
