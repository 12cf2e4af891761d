//! `payment undelivered deliver`: an act for each payment, through the front door like any other.
//!
//! What somebody else has delivered meanwhile is left alone, and an act that comes to a delivered payment moves nothing: so
//! what was broken off is begun again.

use super::which::{WhichUndelivered, act, deliverable};
use crate::commands::act::reason;
use crate::commands::bulk::Bulk;
use crate::commands::bulk::acts::{ActTally, Deed, Ends, NOT_KNOWN};
use crate::session::Session;
use anyhow::Result;
use clap::Args;
use domain::PaymentId;
use facts::outcomes::FactEnd;
use ledger::read;
use std::process::ExitCode;

pub const HELP: &str = "\
What is found is what today's configuration knows the worth of; the fleet must have been started with it. A payment that is still undelivered after its act, or that the ledger refuses, is a failure. Exit status 1 if something failed or is not known within --wait, 2 if not what was expected was found.";

const DEED: Deed = Deed { done: "delivered", step: "payments delivered" };

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    which: WhichUndelivered,
    #[command(flatten)]
    bulk: Bulk,
    /// Why; it stays in the journal's proof
    #[arg(long, value_parser = reason)]
    reason: String,
}

pub async fn deliver(session: &Session, arguments: &Arguments) -> Result<ExitCode> {
    let payments = deliverable(session, &arguments.which, usize::MAX).await?;
    let found = payments.len();
    let question =
        |now| format!("Found {found} that today's configuration would deliver. Deliver {now} of them?");
    let Some(now) = DEED.agreed(session, &arguments.bulk.agreement, found, question)? else {
        return Ok(ExitCode::from(2));
    };
    carry_out(session, arguments, &payments[..now]).await?.show(session, DEED, found)
}

/// A payment that is delivered ended well, whoever delivered it.
async fn carry_out(session: &Session, arguments: &Arguments, payments: &[PaymentId]) -> Result<ActTally> {
    let by = arguments.bulk.agreement.by()?;
    let deliver = |payment: &PaymentId| act(payment, &by, &arguments.reason);
    let judge = async |ends: &Ends<'_>| {
        let payments: Vec<PaymentId> = ends.iter().map(|(payment, _)| (*payment).clone()).collect();
        let delivered = read::delivered(&session.pool, &payments).await?;
        let of = |(payment, end): &(&PaymentId, Option<FactEnd>)| match end {
            _ if delivered.contains(*payment) => None,
            Some(end) => Some(format!("{}, and still undelivered", end.as_str())),
            None => Some(NOT_KNOWN.to_owned()),
        };
        Ok(ends.iter().map(of).collect())
    };
    DEED.carry_out(session, &arguments.bulk, payments, deliver, judge).await
}
