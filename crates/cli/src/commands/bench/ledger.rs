//! `bench ledger`: the ledger alone. Its database part by itself, then draining a backlog from its queue, each over many
//! accounts, over accounts drawn by Zipf's law, and over one; and in the same run a bare probe that drains a queue.

use super::ceiling;
use super::figures::{progress, round};
use super::fleet::greatest_resident_mib;
use super::load::{self, AccountSpread, Load, Mix};
use crate::output::table::{Column, Table};
use crate::output::{say, say_json};
use crate::scratch::Scratch;
use crate::session::{CONFIRM_TIMEOUT, Session};
use anyhow::{Context, Result, anyhow, bail};
use bus::{Health, Publisher, Worker, exchange};
use clap::{Args, ValueEnum};
use db::Work;
use domain::Envelope;
use ledger::Ledger;
use serde::Serialize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// As many facts as the loop takes at a time.
pub const BATCH: usize = 500;

/// Facts settled before it is measured: the first batches open accounts and plan statements.
const WARM_UP: usize = 10 * BATCH;

#[derive(Args)]
pub struct LedgerArguments {
    /// Facts in each run
    #[arg(long, default_value_t = 50_000)]
    events: usize,
    /// Accounts they are spread over
    #[arg(long, default_value_t = 10_000)]
    accounts: usize,
    /// Shares of purchases, usage and refunds in percent: a platform meters many calls for each purchase
    #[arg(long, default_value = "2,97,1")]
    mix: Mix,
    /// How many ledgers at once, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "1,2,4")]
    workers: Vec<usize>,
    /// What is measured, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "database,drained")]
    parts: Vec<LedgerPart>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LedgerPart {
    /// The worker's function and its commit, in full batches, without the broker
    Database,
    /// A backlog in the queue, until the last event is confirmed; and a bare probe that does the like
    Drained,
}

impl LedgerPart {
    fn as_str(self) -> &'static str {
        match self {
            LedgerPart::Database => "database",
            LedgerPart::Drained => "drained",
        }
    }
}

#[derive(Serialize)]
struct LedgerReport {
    events: usize,
    database: Vec<Run>,
    /// The like rows on two connections and nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    database_probe_events_per_second: Option<f64>,
    drained: Vec<Run>,
    /// A bare loop that drains a queue of single messages in batches, writes about the same rows and publishes an event each.
    #[serde(skip_serializing_if = "Option::is_none")]
    probe_events_per_second: Option<f64>,
    /// The best drained run over many accounts, against the probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    share_of_probe: Option<f64>,
    memory_mib: u64,
}

#[derive(Serialize)]
struct Run {
    accounts: &'static str,
    workers: usize,
    events_per_second: f64,
    /// Of the database part, whose batches are all full.
    #[serde(skip_serializing_if = "Option::is_none")]
    statements_per_batch: Option<f64>,
    rows_per_event: f64,
    wal_bytes_per_event: f64,
}

pub async fn run(session: Session, arguments: LedgerArguments) -> Result<ExitCode> {
    let report = measure(&session, &arguments).await?;
    match session.json {
        true => say_json(&report)?,
        false => say(&text(&report)),
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(session: &Session, arguments: &LedgerArguments) -> Result<LedgerReport> {
    let mut database = Vec::new();
    let mut drained = Vec::new();
    for (spread, name) in
        [(AccountSpread::Even, "many"), (AccountSpread::Zipf, "zipf"), (AccountSpread::One, "one")]
    {
        for &workers in &arguments.workers {
            for &part in &arguments.parts {
                progress(session, &format!("{}, {name} accounts, {workers} workers", part.as_str()));
                let load = Load::spread(arguments.accounts, arguments.mix, spread);
                let measured = one(session, load, arguments.events, (name, workers), part).await?;
                match part {
                    LedgerPart::Database => database.push(measured),
                    LedgerPart::Drained => drained.push(measured),
                }
            }
        }
    }
    let measured = |part| arguments.parts.contains(&part);
    let rows = if measured(LedgerPart::Database) {
        Some(probe(session, arguments, LedgerPart::Database).await?)
    } else {
        None
    };
    let probe = if measured(LedgerPart::Drained) {
        Some(probe(session, arguments, LedgerPart::Drained).await?)
    } else {
        None
    };
    let best = drained.iter().filter(|run| run.accounts == "many").map(|run| run.events_per_second);
    let best = best.fold(0.0, f64::max);
    Ok(LedgerReport {
        events: arguments.events,
        share_of_probe: probe.map(|probe| round(best / probe * 100.0) / 100.0),
        database,
        database_probe_events_per_second: rows,
        drained,
        probe_events_per_second: probe,
        memory_mib: greatest_resident_mib(std::process::id()).unwrap_or_default(),
    })
}

async fn probe(session: &Session, arguments: &LedgerArguments, part: LedgerPart) -> Result<f64> {
    progress(session, &format!("{}, a bare probe", part.as_str()));
    let scratch = Scratch::make("bench", load::config(&session.config)).await?;
    let bench = Session::new(scratch.config.clone(), session.json)?;
    let probe = match part {
        LedgerPart::Database => ceiling::database(&bench, arguments.accounts).await,
        LedgerPart::Drained => {
            ceiling::drained(&bench, arguments.accounts, arguments.events.min(30_000)).await
        }
    };
    scratch.remove(&bench).await?;
    probe
}

/// One run on a database and a namespace of its own.
async fn one(
    session: &Session,
    load: Load,
    events: usize,
    (accounts, workers): (&'static str, usize),
    part: LedgerPart,
) -> Result<Run> {
    let scratch = Scratch::make("bench", load::config(&session.config)).await?;
    let bench = Session::new(scratch.config.clone(), session.json)?;
    let measured = async {
        db::migrate(&bench.pool).await?;
        let mut course = Course { session: &bench, load, workers };
        match part {
            LedgerPart::Database => course.database(events).await,
            LedgerPart::Drained => course.drained(events).await,
        }
    };
    let measured = measured.await;
    scratch.remove(&bench).await?;
    let MeasuredPart { seconds, statements, batches, rows, wal_bytes } = measured?;
    let per_event = |count: u64| round(count as f64 / events as f64);
    Ok(Run {
        accounts,
        workers,
        events_per_second: round(events as f64 / seconds),
        statements_per_batch: (batches > 0).then(|| round(statements as f64 / batches as f64)),
        rows_per_event: per_event(rows),
        wal_bytes_per_event: per_event(wal_bytes),
    })
}

struct Course<'a> {
    session: &'a Session,
    load: Load,
    workers: usize,
}

#[derive(Default)]
struct MeasuredPart {
    seconds: f64,
    statements: u64,
    batches: u64,
    rows: u64,
    wal_bytes: u64,
}

/// What the server has written so far.
struct Written {
    rows: u64,
    wal_bytes: u64,
}

impl Course<'_> {
    fn ledger(&self) -> Result<Arc<Ledger>> {
        Ok(Arc::new(Ledger::new(self.session.namespace()?, self.session.config.rules()?)))
    }

    /// The worker's own function in transactions of 500 facts, on as many connections as there are workers.
    async fn database(&mut self, events: usize) -> Result<MeasuredPart> {
        let ledger = self.ledger()?;
        let warm_up = self.load.envelopes(WARM_UP)?;
        self.settle(&ledger, warm_up).await?;
        let facts = self.load.envelopes(events)?;
        let before = written(&self.session.pool).await?;
        let started = Instant::now();
        let (statements, batches) = self.settle(&ledger, facts).await?;
        let seconds = started.elapsed().as_secs_f64();
        let after = written(&self.session.pool).await?;
        Ok(MeasuredPart {
            seconds,
            statements,
            batches,
            rows: after.rows - before.rows,
            wal_bytes: after.wal_bytes - before.wal_bytes,
        })
    }

    /// Each worker has the facts of its own accounts, as the loop deals them out to its lanes.
    async fn settle(&self, ledger: &Arc<Ledger>, facts: Vec<Envelope>) -> Result<(u64, u64)> {
        let mut shards = vec![Vec::new(); self.workers];
        for fact in facts {
            let key = ledger.key(&fact).context("a key of the fact")?;
            shards[(key % self.workers as u64) as usize].push(fact);
        }
        let pool = self.session.worker_pool()?;
        let workers =
            shards.into_iter().map(|facts| tokio::spawn(settle_all(ledger.clone(), facts, pool.clone())));
        let (mut statements, mut count) = (0, 0);
        for worker in workers.collect::<Vec<_>>() {
            let done = worker.await??;
            statements += done.0;
            count += done.1;
        }
        pool.close().await;
        Ok((statements, count))
    }

    /// Facts that wait in the ledger's queue, as the gate leaves them there, until the last event is confirmed.
    async fn drained(&mut self, events: usize) -> Result<MeasuredPart> {
        let warm_up = self.load.envelopes(WARM_UP)?;
        self.settle(&self.ledger()?, warm_up).await?;
        // Nobody publishes what the warm-up told.
        sqlx::query("truncate outbox").execute(&self.session.pool).await?;
        let namespace = self.session.namespace()?;
        let broker = self.session.broker("bench load");
        self.session.topology()?.declare(&broker).await?;
        let facts = self.load.envelopes(events)?;
        let pack = |facts: &[Envelope]| facts::pack(&namespace, exchange::FACTS, facts.to_vec());
        let messages = facts.chunks(BATCH).flat_map(pack).collect();
        load::publish(&broker, messages).await?;
        let settled = settled(&self.session.pool).await?;
        let before = written(&self.session.pool).await?;
        let started = Instant::now();
        let (stop, running) = self.start().await?;
        let deadline = Instant::now() + Duration::from_secs(300);
        while self::settled(&self.session.pool).await? < settled + events as i64
            || unpublished(&self.session.pool).await? > 0
        {
            if Instant::now() > deadline {
                bail!("the ledger did not settle {events} facts within 300 s");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let seconds = started.elapsed().as_secs_f64();
        let after = written(&self.session.pool).await?;
        stop.cancel();
        for worker in running {
            worker.await?;
        }
        broker.close().await;
        Ok(MeasuredPart {
            seconds,
            rows: after.rows - before.rows,
            wal_bytes: after.wal_bytes - before.wal_bytes,
            ..MeasuredPart::default()
        })
    }

    async fn start(&self) -> Result<(CancellationToken, Vec<tokio::task::JoinHandle<()>>)> {
        let stop = CancellationToken::new();
        let mut running = Vec::new();
        for worker in 0..self.workers {
            let publish = self.session.broker(&format!("bench publish {worker}"));
            let context = bus::Context {
                namespace: self.session.namespace()?,
                consume: self.session.broker(&format!("bench consume {worker}")),
                publisher: Publisher::spawn(publish, CONFIRM_TIMEOUT),
                pool: self.session.worker_pool()?,
                health: Health::default(),
                ladder: self.session.config.ladder()?,
                time_limit: bus::TIME_LIMIT,
                stop: stop.clone(),
            };
            running.push(tokio::spawn(bus::run(self.ledger()?, self.session.config.limits.lanes, context)));
        }
        Ok((stop, running))
    }
}

async fn settle_all(ledger: Arc<Ledger>, facts: Vec<Envelope>, pool: db::Pool) -> Result<(u64, u64)> {
    let (mut statements, mut count) = (0, 0);
    for batch in facts.chunks(BATCH) {
        let mut work = Work::new(pool.clone(), OffsetDateTime::now_utc());
        ledger.handle(&mut work, batch).await?;
        statements += work.statements();
        count += 1;
        work.commit().await?;
    }
    Ok((statements, count))
}

async fn settled(pool: &db::Pool) -> Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from outcomes where reader = 'ledger'").fetch_one(pool).await?)
}

async fn unpublished(pool: &db::Pool) -> Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from outbox").fetch_one(pool).await?)
}

async fn written(pool: &db::Pool) -> Result<Written> {
    // Counters of other sessions arrive with a delay unless they are asked for.
    let (rows, wal): (i64, i64) = sqlx::query_as(
        "select (select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint from pg_stat_user_tables),
                pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint",
    )
    .fetch_one(pool)
    .await
    .context("asking what was written")?;
    let count = |number: i64| u64::try_from(number).map_err(|_| anyhow!("expected a count, got {number}"));
    Ok(Written { rows: count(rows)?, wal_bytes: count(wal)? })
}

fn text(report: &LedgerReport) -> String {
    let mut parts = Vec::new();
    if !report.database.is_empty() {
        let title = format!("The database part, {} facts in batches of {BATCH}:", report.events);
        parts.push(format!("{title}\n{}\n", table(&report.database)));
    }
    if let Some(probe) = report.database_probe_events_per_second {
        parts.push(format!("A bare probe writes the like rows of {probe:.0} events/s.\n"));
    }
    if let Some((probe, share)) = report.probe_events_per_second.zip(report.share_of_probe) {
        parts.push(format!("Drained from the queue, each event confirmed:\n{}\n", table(&report.drained)));
        let share = share * 100.0;
        parts.push(format!("A bare probe drains {probe:.0} events/s: the ledger is at {share:.0} % of it."));
    }
    parts.push(format!("Memory, greatest: {} MiB.", report.memory_mib));
    parts.join("\n")
}

fn table(runs: &[Run]) -> Table {
    let mut table = Table::new(&[
        Column::Text("accounts"),
        Column::Number("workers"),
        Column::Number("events/s"),
        Column::Number("statements a batch"),
        Column::Number("rows an event"),
        Column::Number("WAL bytes an event"),
    ]);
    for run in runs {
        table.row(vec![
            run.accounts.to_owned(),
            run.workers.to_string(),
            format!("{:.0}", run.events_per_second),
            run.statements_per_batch.map(|count| format!("{count:.1}")).unwrap_or_default(),
            format!("{:.1}", run.rows_per_event),
            format!("{:.0}", run.wal_bytes_per_event),
        ]);
    }
    table
}
