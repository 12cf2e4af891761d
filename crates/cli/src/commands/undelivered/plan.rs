//! `payment undelivered plan`.

use super::which::{WhichUndelivered, act, deliverable};
use crate::output::listing::oldest_of;
use crate::output::table::Style;
use crate::output::{say, say_json};
use crate::plan::{self, MESSAGES_MAX, Replayed, Verdict};
use crate::session::Session;
use anyhow::Result;
use bus::exchange;
use clap::Args;
use domain::PaymentId;
use serde_json::json;
use std::process::ExitCode;

#[derive(Args)]
pub struct PlanUndelivered {
    #[command(flatten)]
    which: WhichUndelivered,
    /// So many at most, the oldest
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=MESSAGES_MAX as u64))]
    max: u64,
    /// Everything that each would change
    #[arg(long)]
    details: bool,
}

pub async fn plan(session: &Session, arguments: &PlanUndelivered) -> Result<ExitCode> {
    let payments = deliverable(session, &arguments.which, usize::MAX).await?;
    let exchange = session.namespace()?.name(exchange::VERIFIED);
    let message = |payment: &PaymentId| {
        Replayed::of_fact(payment.to_string(), &exchange, &act(payment, "plan", "planned"))
    };
    let messages: Vec<Replayed> = payments.iter().take(arguments.max as usize).map(message).collect();
    let (found, planned) = (payments.len(), messages.len());
    let plan = plan::plan(session, &messages).await?;
    match session.json {
        true => say_json(&json!({ "found": found, "planned": planned, "plan": plan }))?,
        false if messages.is_empty() => say("Today's configuration would deliver none: nothing to plan."),
        false => say(&plan.text(arguments.details)),
    }
    if found > planned && !session.json {
        say(&Style::Dim.paint(&oldest_of(planned, &found.to_string(), "", MESSAGES_MAX)));
    }
    let fails = plan.messages.iter().any(|message| message.verdict == Verdict::WouldFail);
    Ok(if fails { ExitCode::from(1) } else { ExitCode::SUCCESS })
}
