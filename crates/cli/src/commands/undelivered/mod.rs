//! `payment undelivered`: payments that were paid and gave no credits, all of a kind at once. Once what was missing is
//! there, a price in the catalog above all, they are delivered as an operator would deliver each: by an act of its own.

mod deliver;
mod list;
mod plan;

use super::act::reason;
use crate::session::Session;
use anyhow::Result;
use clap::{Args, Subcommand};
use db::Doing;
use domain::fact::{Assignment, AssignmentAct};
use domain::{Cause, Envelope, Fact, PaymentId};
use ledger::read::{self, OPERATOR, Undelivered};
use std::ops::ControlFlow;
use std::process::ExitCode;
use time::OffsetDateTime;
use uuid::Uuid;

#[derive(Subcommand)]
pub enum UndeliveredCommand {
    /// By why and price: how many, since when, what was paid, and how many of them today's configuration would deliver
    List {
        #[command(flatten)]
        which: Which,
        /// Each by itself, the oldest first
        #[arg(long)]
        each: bool,
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        limit: u64,
    },
    /// What delivering them would change, by the fleet's own code in a transaction that is rolled back; writes nothing
    Plan(plan::Arguments),
    /// Deliver those that today's configuration knows the worth of, the oldest first; safe to repeat
    #[command(after_help = deliver::HELP)]
    Deliver(deliver::Arguments),
}

/// Which payments.
#[derive(Args, Clone)]
pub struct Which {
    /// Only those with an item of this price, as the processor names it
    #[arg(long)]
    price: Option<String>,
    /// Only this one; may be given several times
    #[arg(long = "payment", value_name = "PAYMENT")]
    payments: Vec<PaymentId>,
}

impl Which {
    fn means(&self, payment: &Undelivered) -> bool {
        let of_price = self.price.as_ref().is_none_or(|price| payment.prices.contains(price));
        of_price && (self.payments.is_empty() || self.payments.contains(&payment.payment))
    }
}

pub async fn run(session: &Session, command: UndeliveredCommand) -> Result<ExitCode> {
    match command {
        UndeliveredCommand::List { which, each, limit } => {
            list::list(session, &which, each, limit as usize).await
        }
        UndeliveredCommand::Plan(arguments) => plan::plan(session, &arguments).await,
        UndeliveredCommand::Deliver(arguments) => deliver::deliver(session, &arguments).await,
    }
}

/// Payments read at a time.
const PAGE: i64 = 500;

/// Shows each payment to `look`, the oldest first, until it has seen enough.
async fn look_through(
    session: &Session,
    which: &Which,
    mut look: impl FnMut(Undelivered) -> ControlFlow<()>,
) -> Result<()> {
    let today = session.config.rules()?;
    let mut connection = session.pool.acquire().await.doing("taking a connection")?;
    let mut last: Option<Undelivered> = None;
    loop {
        let page = read::undelivered(&mut connection, last.as_ref(), PAGE, &today).await?;
        let Some(end) = page.last() else { return Ok(()) };
        last = Some(end.clone());
        for payment in page {
            if which.means(&payment) && look(payment).is_break() {
                return Ok(());
            }
        }
    }
}

/// Those that today's configuration would deliver, at most `max`, the oldest first.
async fn deliverable(session: &Session, which: &Which, max: usize) -> Result<Vec<PaymentId>> {
    let mut payments = Vec::new();
    look_through(session, which, |payment| {
        if payment.grants_today.is_some() {
            payments.push(payment.payment);
        }
        if payments.len() < max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .await?;
    Ok(payments)
}

/// An operator's act that delivers a payment as it says itself.
fn act(payment: PaymentId, by: &str, reason: &str) -> Envelope {
    let now = OffsetDateTime::now_utc();
    let at = now.replace_microsecond(now.microsecond()).unwrap_or(now);
    let cause =
        Cause { source: format!("{OPERATOR}{by}"), id: format!("deliver_{}", Uuid::now_v7().simple()) };
    let fact = Fact::Assignment(Assignment {
        payment,
        act: AssignmentAct::Deliver,
        account: None,
        credits: None,
        by_todays_catalog: false,
        reason: reason.to_owned(),
        by: by.to_owned(),
        occurred_at: at,
    });
    Envelope { cause, time: at, received_at: Some(now), traceparent: None, raw: None, fact }
}
