//! `payment restate`: payments that were settled by what was understood, or configured, before are read as they are read
//! today. An act for each of them; what is known of the payment stays as it is, and the difference is posted in the journal as
//! that act's. Nothing is rewritten.

use super::act::reason;
use super::bulk::{Bulk, Consent};
use super::bulk_acts::{self, NAMED_MAX, NOT_KNOWN, Outcomes, Tally};
use super::verify::ProgressLine;
use super::{say, say_json};
use crate::session::Session;
use crate::table::{Column, Style, Table};
use anyhow::Result;
use clap::Args;
use domain::fact::{Assignment, AssignmentAct};
use domain::{Cause, Envelope, Fact, Outcome, PaymentId};
use ledger::read::{self, OPERATOR, Place, Restatable};
use ledger::verify::Progress;
use serde_json::json;
use std::process::ExitCode;
use time::OffsetDateTime;
use uuid::Uuid;

pub const HELP: &str = "\
What is found is what `bursar ledger rebuild --compare` names as read differently today; those that were granted by a rate that applies no longer only with --todays-catalog. To leave such a payment what it granted, say so: `bursar payment deliver <payment> --credits <credits> --reason ...`. Exit status 1 if something failed or is not known within --wait, 2 if not what was expected was found.";

#[derive(Args)]
pub struct Arguments {
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

pub async fn run(session: &Session, arguments: &Arguments) -> Result<ExitCode> {
    let found = find(session, arguments).await?;
    let Some(reason) = arguments.reason.as_ref().filter(|_| !arguments.plan) else {
        return plan(session, &found);
    };
    let (agreement, count) = (&arguments.bulk.agreement, found.len());
    let now = agreement.of(count);
    if count > 0 || agreement.is_expecting() {
        let question = format!("Found {count} that are read differently today. Restate {now} of them?");
        if let Consent::Refused(why) = agreement.consent(count, &question) {
            match session.json {
                true => say_json(&json!({ "found": count, "restated": 0, "error": why }))?,
                false => say(&format!("Nothing was restated: {why}. Found {count}.")),
            }
            return Ok(ExitCode::from(2));
        }
    }
    let by = agreement.by()?;
    let by_catalog: Vec<&PaymentId> =
        found.iter().filter(|found| found.by_todays_catalog).map(|found| &found.payment).collect();
    let restate = |payment: &PaymentId| act(payment, by_catalog.contains(&payment), &by, reason);
    let payments: Vec<PaymentId> = found.iter().take(now).map(|found| found.payment.clone()).collect();
    let tally =
        bulk_acts::carry_out(session, &arguments.bulk, "payments restated", &payments, restate, judge)
            .await?;
    tell(session, count, &tally)
}

/// Those that are meant, of all that are read differently today, by name.
async fn find(session: &Session, arguments: &Arguments) -> Result<Vec<Restatable>> {
    let (today, mut line) = (session.config.rules()?, ProgressLine::new());
    let (mut place, mut found) = (Place::default(), Vec::new());
    let mut connection = read::snapshot(&session.pool).await?;
    while let Some(more) = read::restatable(&mut connection, &mut place, &today).await? {
        found.extend(more.into_iter().filter(|one| {
            let is_meant = arguments.payments.is_empty() || arguments.payments.contains(&one.payment);
            is_meant && (arguments.todays_catalog || !one.by_todays_catalog)
        }));
        line.show(Progress { rule: "reading payments as today", checked: place.checked, of: 0 });
    }
    line.clear();
    Ok(found)
}

fn act(payment: &PaymentId, by_todays_catalog: bool, by: &str, reason: &str) -> Envelope {
    let now = OffsetDateTime::now_utc();
    let at = now.replace_microsecond(now.microsecond()).unwrap_or(now);
    let cause =
        Cause { source: format!("{OPERATOR}{by}"), id: format!("restate_{}", Uuid::now_v7().simple()) };
    let fact = Fact::Assignment(Assignment {
        payment: payment.clone(),
        act: AssignmentAct::Restate,
        account: None,
        credits: None,
        by_todays_catalog,
        reason: reason.to_owned(),
        by: by.to_owned(),
        occurred_at: at,
    });
    Envelope { cause, time: at, received_at: Some(now), traceparent: None, raw: None, fact }
}

async fn judge(outcomes: &Outcomes<'_>) -> Result<Vec<Option<String>>> {
    let of = |(_, outcome): &(&PaymentId, Option<Outcome>)| match outcome {
        Some(Outcome::Applied) => None,
        Some(outcome) => Some(outcome.to_string()),
        None => Some(NOT_KNOWN.to_owned()),
    };
    Ok(outcomes.iter().map(of).collect())
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

fn tell(session: &Session, found: usize, tally: &Tally) -> Result<ExitCode> {
    let others = tally.others.iter().take(NAMED_MAX);
    if session.json {
        let others: Vec<_> =
            others.map(|(payment, became)| json!({ "payment": payment, "became": became })).collect();
        say_json(&json!({ "found": found, "restated": tally.done, "others": tally.others.len(),
                          "others_first": others, "stopped": tally.stopped }))?;
    } else {
        let style = if tally.others.is_empty() { Style::Good } else { Style::Bad };
        say(&style.paint(&format!("{} restated of {found} found.", tally.done)));
        others.for_each(|(payment, became)| {
            say(&format!("  {payment}: {became}; see bursar payment show {payment}"))
        });
        if let Some(why) = &tally.stopped {
            say(&format!("Stopped: {why}; the rest was left alone."));
        }
    }
    Ok(if tally.others.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
