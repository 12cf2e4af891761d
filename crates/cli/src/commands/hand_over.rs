//! `facts hand-over`: a worker that was added later is given the facts that were admitted before it existed.

use super::act::By;
use super::bulk::rate::{Rate, Throttle};
use crate::output::progress::ProgressLine;
use crate::output::table::moment;
use crate::output::{say, say_json, warn};
use crate::session::{CONFIRM_TIMEOUT, Session};
use anyhow::{Result, anyhow};
use bus::{Publisher, QueueDepth};
use clap::{Args, Subcommand};
use domain::FactKind;
use facts::hand_over::{
    HandOver, HandOverOrder, HandOverState, HandOverStep, HandOvers, QUIET, QuietWatch, STEP,
};
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;
use time::OffsetDateTime;

#[derive(Subcommand)]
pub enum FactsCommand {
    /// Give a worker the facts of a kind that were admitted before it read them, in order of time, each once. What was broken
    /// off goes on where it stopped when it is asked for again; new facts flow meanwhile
    HandOver(Arguments),
}

#[derive(Args)]
pub struct Arguments {
    /// Which facts: fact.dispute, fact.customer, ...
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: FactKind,
    /// To which worker (by default to every one that reads the kind and does not have all of it)
    #[arg(long, value_name = "READER")]
    to: Option<String>,
    /// No faster than this: 500/s, 10000/m (by default as fast as the worker settles them)
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,
    #[command(flatten)]
    by: By,
}

/// Between two looks at a queue that is full, at what a reader has settled, or at a hand-over that somebody else has in hand.
const LOOK: Duration = Duration::from_millis(100);

fn kind(text: &str) -> Result<FactKind, String> {
    FactKind::parse(text).ok_or_else(|| {
        let known = FactKind::ALL.map(FactKind::as_str).join(", ");
        format!("expected a kind of facts ({known}), got {text:?}")
    })
}

pub async fn run(session: &Session, command: FactsCommand) -> Result<ExitCode> {
    match command {
        FactsCommand::HandOver(arguments) => hand_over(session, &arguments).await,
    }
}

async fn hand_over(session: &Session, arguments: &Arguments) -> Result<ExitCode> {
    let by = arguments.by.name()?;
    let broker = session.broker("hand-over");
    let hand_overs = HandOvers {
        pool: session.pool.clone(),
        namespace: session.namespace()?,
        topology: session.topology()?,
        publisher: Publisher::spawn(broker.clone(), CONFIRM_TIMEOUT),
        broker,
    };
    let readers = match &arguments.to {
        Some(reader) => vec![reader.clone()],
        None => hand_overs.readers_to_serve(arguments.kind).await?,
    };
    let mut done = Vec::new();
    for reader in &readers {
        let order = HandOverOrder { kind: arguments.kind, reader, by: &by };
        let begun = hand_overs.begin(&order, OffsetDateTime::now_utc()).await?;
        done.push(carry_out(&hand_overs, begun, arguments.rate).await?);
    }
    hand_overs.broker.close().await;
    show(session, arguments.kind, &done)
}

/// Step by step until the reader has settled all of the list, however many processes take part.
async fn carry_out(hand_overs: &HandOvers, begun: HandOver, rate: Option<Rate>) -> Result<HandOver> {
    let line = ProgressLine::new();
    let ended = tokio::select! {
        ended = step_by_step(hand_overs, begun, rate, &line) => ended,
        _ = tokio::signal::ctrl_c() => {
            Err(anyhow!("broken off; the same command goes on where it stopped"))
        }
    };
    line.clear();
    ended
}

async fn step_by_step(
    hand_overs: &HandOvers,
    mut hand_over: HandOver,
    rate: Option<Rate>,
    line: &ProgressLine,
) -> Result<HandOver> {
    let mut pace = Throttle::new(rate);
    let portion = pace.portion(STEP);
    let mut quiet = QuietWatch::default();
    let mut is_warned = false;
    let mut warn_once = |reader: &str, depth: QueueDepth| {
        if depth.consumers == 0 && !std::mem::replace(&mut is_warned, true) {
            warn(&nobody_takes(reader, depth));
        }
    };
    while hand_over.state == HandOverState::Running {
        match hand_overs.step(&hand_over, portion).await? {
            HandOverStep::Went(now) => {
                pace.wait_for(usize::try_from(now.handed_over - hand_over.handed_over).unwrap_or(0)).await;
                hand_over = now;
                let (checked, of) = (hand_over.place(), hand_over.facts);
                line.show("facts handed over", checked, of);
            }
            HandOverStep::QueueIsFull(depth) => {
                warn_once(&hand_over.reader, depth);
                tokio::time::sleep(LOOK).await;
            }
            HandOverStep::Draining(draining) => {
                if let Some(depth) = draining.depth {
                    warn_once(&hand_over.reader, depth);
                }
                line.show("facts settled by the reader", draining.settled, draining.hand_over.facts);
                let has_vanished = quiet.has_vanished(&draining);
                hand_over = draining.hand_over;
                if has_vanished {
                    warn(&vanished(&hand_over.reader));
                    hand_overs.again(&hand_over).await?;
                }
                tokio::time::sleep(LOOK).await;
            }
            HandOverStep::InHand => tokio::time::sleep(LOOK).await,
        }
    }
    Ok(hand_over)
}

fn nobody_takes(reader: &str, depth: QueueDepth) -> String {
    format!(
        "{} messages wait for {reader}, and nobody takes them: is the worker running? This goes on once it does",
        depth.ready
    )
}

fn vanished(reader: &str) -> String {
    format!(
        "The queue of {reader} is empty, and nothing was settled for {} s: what was handed over has vanished from it, and what \
         is left is handed over again",
        QUIET.as_secs()
    )
}

/// Exit status 1 where some could not be read.
fn show(session: &Session, kind: FactKind, done: &[HandOver]) -> Result<ExitCode> {
    match session.json {
        true => say_json(&json!({ "kind": kind.as_str(), "hand_overs": done }))?,
        false => say(&text(kind, done)),
    }
    let is_whole = done.iter().all(|hand_over| hand_over.unreadable == 0);
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn text(kind: FactKind, done: &[HandOver]) -> String {
    if done.is_empty() {
        return format!("Every worker that reads {kind} has all of it: nothing to hand over.");
    }
    done.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(done: &HandOver) -> String {
    let HandOver { kind, reader, facts, handed_over, left_out, unreadable, by, began_at, .. } = done;
    let mut text = format!(
        "{reader}: {handed_over} of {facts} facts ({kind}) were handed over, {left_out} were settled meanwhile, or left to their \
         dead letters. Begun by {by} at {}.",
        moment(*began_at)
    );
    if *unreadable > 0 {
        text.push_str(&format!(
            " {unreadable} could not be read by this version and were left out: see the log. So {reader} does not have all \
             of {kind} yet: hand over again with a version that reads them."
        ));
    }
    text
}
