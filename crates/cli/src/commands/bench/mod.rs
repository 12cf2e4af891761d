//! `bench`: throughput and latency of the whole path, from a fact in `verified` or `inbound` to its event confirmed in
//! `events`, then how fast gateways read accounts, and in the same run the machine's own ceilings. Everything is durable, as in production; a database and a
//! namespace of its own are made and removed.

#![expect(clippy::float_arithmetic, reason = "rates and quantiles of measurements, never money")]

mod ceiling;
mod figures;
mod fleet;
mod freeze;
mod gateway;
mod latency;
mod ledger;
mod letters;
mod load;
mod proof;

use crate::output::{say, say_json};
use crate::scratch::Scratch;
use crate::session::Session;
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use figures::{Latency, Memory, progress, round};
use fleet::{Counters, FleetProcess};
use freeze::Freeze;
use gateway::AccountReads;
use load::{Load, Mix};
use serde::Serialize;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArguments {
    #[command(subcommand)]
    part: Option<BenchPart>,
    #[command(flatten)]
    whole: Whole,
}

#[derive(Subcommand)]
enum BenchPart {
    /// The ledger alone: its database part, then draining a backlog; over many accounts, few, and one
    Ledger(ledger::LedgerArguments),
    /// Verify and rebuild over long journals: time, and memory that stays flat
    Proof(proof::ProofArguments),
    /// Dead letters by the hundred thousand: recording them, asking for them, replaying them
    DeadLetters(letters::LettersArguments),
}

#[derive(Args)]
struct Whole {
    /// Facts in the throughput run
    #[arg(long, default_value_t = 50_000)]
    events: usize,
    /// Accounts they are spread over
    #[arg(long, default_value_t = 10_000)]
    accounts: usize,
    /// Shares of purchases, usage and refunds in percent
    #[arg(long, default_value = "20,70,10")]
    mix: Mix,
    /// Facts in one message of usage, as a gateway that collects would send them
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=500))]
    usage_batch: u16,
    /// Seconds of the latency run, at half the measured load
    #[arg(long, default_value_t = 10)]
    latency_seconds: u64,
    /// A process for each worker instead of one for all
    #[arg(long)]
    split: bool,
}

#[derive(Serialize)]
struct BenchReport {
    events: usize,
    events_per_second: f64,
    latency_ms: Latency,
    account_reads: AccountReads,
    freeze_ms: Freeze,
    ceilings: Ceilings,
    share_of_ceiling: f64,
    memory_mib: Memory,
    workers: BTreeMap<&'static str, WorkerReport>,
}

#[derive(Serialize)]
struct Ceilings {
    /// The same bytes through three confirmed hops and nothing else.
    broker_events_per_second: f64,
    /// The same rows in batched transactions and nothing else.
    database_events_per_second: f64,
}

#[derive(Serialize)]
struct WorkerReport {
    events_per_second: f64,
    batch_mean: f64,
    statements_per_batch: f64,
}

pub async fn run(session: Session, arguments: BenchArguments) -> Result<ExitCode> {
    if cfg!(debug_assertions) && !session.json {
        say("This is a debug build: for figures, build with --release.");
    }
    let arguments = match arguments.part {
        Some(BenchPart::Ledger(arguments)) => return ledger::run(session, arguments).await,
        Some(BenchPart::Proof(arguments)) => return proof::run(session, arguments).await,
        Some(BenchPart::DeadLetters(arguments)) => return letters::run(session, arguments).await,
        None => arguments.whole,
    };
    let scratch = Scratch::make("bench", load::config(&session.config)).await?;
    let bench = Session::new(scratch.config.clone(), session.json)?;
    let report = measure(&bench, &arguments).await;
    scratch.remove(&bench).await?;
    let report = report?;
    match session.json {
        true => say_json(&report)?,
        false => say(&text(&report)),
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(session: &Session, arguments: &Whole) -> Result<BenchReport> {
    let mut fleet = FleetProcess::start(session, arguments.split).await?;
    let measured = measure_fleet(session, arguments, &mut fleet).await;
    fleet.stop().await?;
    let FleetFigures { throughput, latency, memory, account_reads, freeze } = measured?;
    progress(session, "the machine's ceilings");
    let ceilings = Ceilings {
        broker_events_per_second: ceiling::broker(session, arguments.events.min(30_000)).await?,
        database_events_per_second: ceiling::database(session, arguments.accounts).await?,
    };
    let lowest = ceilings.broker_events_per_second.min(ceilings.database_events_per_second);
    Ok(BenchReport {
        events: arguments.events,
        events_per_second: round(throughput.per_second),
        latency_ms: latency,
        account_reads,
        freeze_ms: freeze,
        share_of_ceiling: round(throughput.per_second / lowest * 100.0) / 100.0,
        ceilings,
        memory_mib: memory,
        workers: throughput.workers,
    })
}

struct FleetFigures {
    throughput: Throughput,
    latency: Latency,
    memory: Memory,
    account_reads: AccountReads,
    freeze: Freeze,
}

struct Throughput {
    per_second: f64,
    workers: BTreeMap<&'static str, WorkerReport>,
}

async fn measure_fleet(
    session: &Session,
    arguments: &Whole,
    fleet: &mut FleetProcess,
) -> Result<FleetFigures> {
    let mut load = Load::new(arguments.accounts, arguments.mix, arguments.usage_batch);
    progress(session, "warming up");
    drive(session, fleet, &mut load, arguments.events / 10).await?;
    progress(session, "throughput");
    let throughput = drive(session, fleet, &mut load, arguments.events).await?;
    progress(session, "latency at half the load");
    let rate = throughput.per_second / 2.0;
    let latency =
        latency::measure(session, &mut load, rate, Duration::from_secs(arguments.latency_seconds)).await?;
    let memory = fleet.memory();
    progress(session, "reading accounts, as gateways do");
    let account_reads = gateway::measure(session, fleet, arguments.accounts).await?;
    progress(session, "from dispute to freeze");
    let freeze = freeze::measure(session, fleet, &mut load, rate).await?;
    Ok(FleetFigures { throughput, latency, memory, account_reads, freeze })
}

/// Publishes facts as fast as the broker takes them, and waits until the event of the last one is confirmed.
async fn drive(session: &Session, fleet: &FleetProcess, load: &mut Load, facts: usize) -> Result<Throughput> {
    let before = fleet.counters().await?;
    let messages = load.draw(session, facts)?;
    let broker = session.broker("bench load");
    let started = Instant::now();
    load::publish(&broker, messages).await?;
    let deadline = Instant::now() + Duration::from_secs(300);
    let after = loop {
        let now = fleet.counters().await?;
        if now.settled_by("ledger") - before.settled_by("ledger") >= facts as f64 {
            break now;
        }
        if Instant::now() > deadline {
            bail!("the fleet did not settle {facts} facts within 300 s");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let seconds = started.elapsed().as_secs_f64();
    broker.close().await;
    let workers = ["gate", "ledger"].map(|worker| (worker, worker_report(worker, &before, &after, seconds)));
    Ok(Throughput { per_second: facts as f64 / seconds, workers: workers.into() })
}

fn worker_report(worker: &str, before: &Counters, after: &Counters, seconds: f64) -> WorkerReport {
    let facts = after.settled_by(worker) - before.settled_by(worker);
    let batches = after.batches_of(worker) - before.batches_of(worker);
    let statements = after.statements_of(worker) - before.statements_of(worker);
    WorkerReport {
        events_per_second: round(facts / seconds),
        batch_mean: round(facts / batches.max(1.0)),
        statements_per_batch: round(statements / batches.max(1.0)),
    }
}

fn text(report: &BenchReport) -> String {
    let workers = report.workers.iter().map(|(name, worker)| {
        format!(
            "  {name:<9} {:>9.1} facts/s, {:>6.1} facts and {:.1} statements a batch",
            worker.events_per_second, worker.batch_mean, worker.statements_per_batch
        )
    });
    let processes = report.memory_mib.per_worker.iter().map(|(name, mib)| format!("{name} {mib}"));
    format!(
        "{} facts, each to its confirmed event: {:.0} events/s\n{}\n  latency at {:.0} events/s: p50 {:.1} ms, p99 {:.1} ms\n  \
         memory, greatest: {} MiB ({})\n{}\n{}\nthe machine, in the same run:\n  three confirmed hops      {:>9.0} events/s\n  \
         the same rows, batched    {:>9.0} events/s\n  share of the lower one    {:>8.0} %",
        report.events,
        report.events_per_second,
        workers.collect::<Vec<_>>().join("\n"),
        report.latency_ms.at_events_per_second,
        report.latency_ms.p50,
        report.latency_ms.p99,
        report.memory_mib.bursar,
        processes.collect::<Vec<_>>().join(", "),
        report.account_reads,
        report.freeze_ms,
        report.ceilings.broker_events_per_second,
        report.ceilings.database_events_per_second,
        report.share_of_ceiling * 100.0,
    )
}
