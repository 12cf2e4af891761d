//! `payment undelivered deliver`: an act for each payment, through the front door like any other.
//!
//! What somebody else has delivered meanwhile is left alone, and an act that comes to a delivered payment moves nothing: so
//! what was broken off is begun again.

use super::{Which, act, deliverable, reason};
use crate::commands::bulk::{Bulk, Consent, Pace};
use crate::commands::verify::ProgressLine;
use crate::commands::{say, say_json};
use crate::session::{CONFIRM_TIMEOUT, Session};
use crate::table::Style;
use anyhow::Result;
use clap::Args;
use domain::{Cause, PaymentId};
use ledger::read;
use ledger::verify::Progress;
use serde_json::json;
use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

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

/// Acts under way at a time.
const AT_ONCE: usize = 100;

/// Between two looks at what has become of them.
const LOOK: Duration = Duration::from_millis(20);

/// So many of those that did not end well are named.
const NAMED_MAX: usize = 20;

/// What became of an act that nobody has settled.
const NOT_KNOWN: &str = "not known yet: is the fleet running?";

#[derive(Default)]
struct Tally {
    delivered: usize,
    /// With what became of it instead.
    others: Vec<(PaymentId, String)>,
    /// Why the rest was left alone.
    stopped: Option<String>,
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

/// The canary first; the rest only if all of it was delivered.
async fn carry_out(session: &Session, arguments: &Arguments, payments: &[PaymentId]) -> Result<Tally> {
    let (bulk, mut tally) = (&arguments.bulk, Tally::default());
    let by = bulk.agreement.by()?;
    if payments.is_empty() {
        return Ok(tally);
    }
    let (mut pace, mut line) = (Pace::new(bulk.speed.rate), ProgressLine::new());
    let broker = session.broker("deliver");
    let intake = session.intake(&broker, CONFIRM_TIMEOUT)?;
    let (canary, rest) = payments.split_at(bulk.speed.canary.unwrap_or(0).min(payments.len()));
    let portion = pace.portion(AT_ONCE);
    for portion in canary.chunks(portion).chain(rest.chunks(portion)) {
        let is_past_canary = tally.delivered + tally.others.len() >= canary.len();
        if !tally.others.is_empty() && !canary.is_empty() && is_past_canary {
            tally.stopped = Some("not all of the canary was delivered".to_owned());
            break;
        }
        pace.wait_for(portion.len()).await;
        let acts: Vec<_> =
            portion.iter().map(|payment| act(payment.clone(), &by, &arguments.reason)).collect();
        let causes: Vec<Cause> = acts.iter().map(|act| act.cause.clone()).collect();
        intake.make_durable(acts).await?;
        let became = became(session, &causes, portion, bulk.speed.wait).await?;
        let is_known = became.iter().any(|became| became.as_deref() != Some(NOT_KNOWN));
        for (payment, became) in portion.iter().zip(became) {
            match became {
                None => tally.delivered += 1,
                Some(why) => tally.others.push((payment.clone(), why)),
            }
        }
        if !is_known && tally.others.len() + tally.delivered < payments.len() {
            tally.stopped = Some("nothing is known of any of them yet; is the fleet running?".to_owned());
            break;
        }
        let checked = (tally.delivered + tally.others.len()) as i64;
        line.show(Progress { rule: "payments delivered", checked, of: payments.len() as i64 });
    }
    line.clear();
    broker.close().await;
    Ok(tally)
}

/// What became of each instead of being delivered; nothing where it was.
async fn became(
    session: &Session,
    causes: &[Cause],
    payments: &[PaymentId],
    patience: Duration,
) -> Result<Vec<Option<String>>> {
    let deadline = Instant::now() + patience;
    loop {
        let states = read::fact_states(&session.pool, causes).await?;
        let outcomes: HashMap<&Cause, &str> =
            states.iter().filter_map(|state| Some((&state.cause, state.outcome.as_deref()?))).collect();
        if outcomes.len() < causes.len() && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        let delivered = read::delivered(&session.pool, payments).await?;
        let of = |(cause, payment): (&Cause, &PaymentId)| match outcomes.get(cause) {
            _ if delivered.contains(payment) => None,
            Some(outcome) => Some(format!("{outcome}, and still undelivered")),
            None => Some(NOT_KNOWN.to_owned()),
        };
        return Ok(causes.iter().zip(payments).map(of).collect());
    }
}

fn tell(session: &Session, found: usize, tally: &Tally) -> Result<ExitCode> {
    let others = tally.others.iter().take(NAMED_MAX);
    if session.json {
        let others: Vec<_> =
            others.map(|(payment, became)| json!({ "payment": payment, "became": became })).collect();
        say_json(&json!({ "found": found, "delivered": tally.delivered, "others": tally.others.len(),
                          "others_first": others, "stopped": tally.stopped }))?;
    } else {
        let style = if tally.others.is_empty() { Style::Good } else { Style::Bad };
        say(&style.paint(&format!("{} delivered of {found} found.", tally.delivered)));
        others.for_each(|(payment, became)| {
            say(&format!("  {payment}: {became}; see bursar payment show {payment}"))
        });
        if let Some(why) = &tally.stopped {
            say(&format!("Stopped: {why}; the rest was left alone."));
        }
    }
    Ok(if tally.others.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
