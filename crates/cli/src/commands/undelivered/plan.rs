//! `payment undelivered plan`.

use super::{Which, act, deliverable};
use crate::commands::{say, say_json};
use crate::plan::{self, Replayed, Verdict};
use crate::session::Session;
use anyhow::Result;
use bus::{Incoming, exchange, queue};
use clap::Args;
use domain::{Envelope, PaymentId, envelope};
use std::process::ExitCode;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    /// So many at most, the oldest
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=500))]
    max: u64,
    /// Everything that each would change
    #[arg(long)]
    details: bool,
}

pub async fn plan(session: &Session, arguments: &Arguments) -> Result<ExitCode> {
    let payments = deliverable(session, &arguments.which, arguments.max as usize).await?;
    let exchange = session.namespace()?.name(exchange::VERIFIED);
    let by = "plan";
    let message = |payment: &PaymentId| Replayed {
        label: payment.to_string(),
        queue: queue::GATE.to_owned(),
        message: as_received(&exchange, &act(payment.clone(), by, "planned")),
    };
    let messages: Vec<Replayed> = payments.iter().map(message).collect();
    let plan = plan::plan(session, &messages).await?;
    match session.json {
        true => say_json(&plan)?,
        false if messages.is_empty() => say("Today's configuration would deliver none: nothing to plan."),
        false => say(&plan.text(arguments.details)),
    }
    let fails = plan.messages.iter().any(|message| message.verdict == Verdict::WouldFail);
    Ok(if fails { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn as_received(exchange: &str, envelope: &Envelope) -> Incoming {
    Incoming {
        exchange: exchange.to_owned(),
        routing_key: envelope.fact.kind().as_str().to_owned(),
        message_id: Some(envelope.cause.id.clone()),
        content_type: Some(envelope::CONTENT_TYPE.to_owned()),
        body: envelope.to_json().into_bytes(),
        ..Incoming::default()
    }
}
