//! `bench proof`: `ledger verify` and `ledger rebuild --compare` over journals of a tenth of the size and of the whole, as
//! processes of their own: their time, and that their memory does not grow with the journal.

use super::figures::{progress, round};
use super::fleet::greatest_resident_mib;
use super::ledger::BATCH;
use super::load::{self, AccountSpread, Load, Mix};
use crate::output::table::{Column, Table};
use crate::output::{say, say_json};
use crate::scratch::{self, Scratch};
use crate::session::Session;
use anyhow::{Context, Result, bail};
use bus::Worker;
use clap::Args;
use db::Work;
use domain::Envelope;
use ledger::Ledger;
use serde::Serialize;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::process::Command;
use tokio::time::Instant;

#[derive(Args)]
pub struct ProofArguments {
    /// Journal entries of the larger ledger
    #[arg(long, default_value_t = 1_000_000)]
    entries: i64,
    /// Accounts they are spread over
    #[arg(long, default_value_t = 10_000)]
    accounts: usize,
    /// Shares of purchases, usage and refunds in percent
    #[arg(long, default_value = "20,70,10")]
    mix: Mix,
}

#[derive(Serialize)]
struct Proof {
    command: &'static str,
    entries: i64,
    facts: i64,
    seconds: f64,
    entries_per_second: f64,
    memory_mib: u64,
}

const COMMANDS: [(&str, &[&str]); 2] =
    [("verify", &["ledger", "verify", "--json"]), ("rebuild", &["ledger", "rebuild", "--compare", "--json"])];

pub async fn run(session: Session, arguments: ProofArguments) -> Result<ExitCode> {
    let scratch = Scratch::make("bench", load::config(&session.config)).await?;
    let bench = Session::new(scratch.config.clone(), session.json)?;
    let file = std::env::temp_dir().join(format!("{}.toml", bench.config.namespace));
    let proofs = measure(&bench, &arguments, &file).await;
    drop(std::fs::remove_file(&file));
    scratch.remove(&bench).await?;
    let proofs = proofs?;
    match session.json {
        true => say_json(&serde_json::json!({ "proofs": proofs }))?,
        false => say(&table(&proofs).to_string()),
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(session: &Session, arguments: &ProofArguments, file: &Path) -> Result<Vec<Proof>> {
    std::fs::write(file, toml::to_string(&session.config)?)?;
    db::migrate(&session.pool).await?;
    let mut load = Load::spread(arguments.accounts, arguments.mix, AccountSpread::Even);
    let ledger = Ledger::new(session.namespace()?, session.config.rules()?);
    let mut proofs = Vec::new();
    for entries in [arguments.entries / 10, arguments.entries] {
        progress(session, &format!("filling a journal with {entries} entries"));
        fill(session, &ledger, &mut load, entries).await?;
        for (command, words) in COMMANDS {
            progress(session, command);
            proofs.push(prove(session, file, command, words).await?);
        }
    }
    Ok(proofs)
}

/// Admits and settles facts, as gate and ledger do, until the journal has so many entries. Nobody waits for the events.
async fn fill(session: &Session, ledger: &Ledger, load: &mut Load, entries: i64) -> Result<()> {
    while count(session, "select count(*) from entries").await? < entries {
        for _ in 0..50 {
            let facts = load.envelopes(BATCH)?;
            let mut work = Work::new(session.pool.clone(), OffsetDateTime::now_utc());
            admit(&mut work, &facts).await?;
            ledger.handle(&mut work, &facts).await?;
            sqlx::query("delete from outbox").execute(work.connection().await?).await?;
            work.commit().await?;
        }
    }
    sqlx::query("analyze").execute(&session.pool).await?;
    Ok(())
}

async fn admit(work: &mut Work, facts: &[Envelope]) -> Result<()> {
    let ids: Vec<&str> = facts.iter().map(|fact| fact.cause.id.as_str()).collect();
    let sources: Vec<&str> = facts.iter().map(|fact| fact.cause.source.as_str()).collect();
    let kinds: Vec<&str> = facts.iter().map(|fact| fact.fact.kind().as_str()).collect();
    let texts: Vec<String> = facts.iter().map(|fact| fact.fact.canonical().get().to_owned()).collect();
    let times: Vec<OffsetDateTime> = facts.iter().map(|fact| fact.time).collect();
    sqlx::query(
        "insert into inbox (source, id, kind, hash, fact, time, admitted_at)
         select source, id, kind, sha256(convert_to(fact, 'UTF8')), fact, time, now()
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[])
           as f (source, id, kind, fact, time)",
    )
    .bind(&sources)
    .bind(&ids)
    .bind(&kinds)
    .bind(&texts)
    .bind(&times)
    .execute(work.connection().await?)
    .await
    .context("admitting the load")?;
    Ok(())
}

async fn prove(session: &Session, file: &Path, command: &'static str, words: &[&str]) -> Result<Proof> {
    let started = Instant::now();
    let mut process = Command::new(std::env::current_exe()?)
        .args(words)
        .env("BURSAR_CONFIG", file)
        .envs(scratch::environment(&session.config))
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {command}"))?;
    let mut memory_mib = 0;
    let status = loop {
        if let Some(status) = process.try_wait()? {
            break status;
        }
        memory_mib = process.id().and_then(greatest_resident_mib).unwrap_or_default().max(memory_mib);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let seconds = started.elapsed().as_secs_f64();
    if !status.success() {
        bail!("expected {command} to find a sound ledger, it ended with {status}");
    }
    let entries = count(session, "select count(*) from entries").await?;
    let facts = count(session, "select count(*) from outcomes where reader = 'ledger'").await?;
    let entries_per_second = round(entries as f64 / seconds);
    Ok(Proof { command, entries, facts, seconds: round(seconds), entries_per_second, memory_mib })
}

async fn count(session: &Session, statement: &'static str) -> Result<i64> {
    Ok(sqlx::query_scalar(statement).fetch_one(&session.pool).await?)
}

fn table(proofs: &[Proof]) -> Table {
    let mut table = Table::new(&[
        Column::Text("command"),
        Column::Number("entries"),
        Column::Number("facts"),
        Column::Number("seconds"),
        Column::Number("entries/s"),
        Column::Number("MiB, greatest"),
    ]);
    for proof in proofs {
        table.row(vec![
            proof.command.to_owned(),
            proof.entries.to_string(),
            proof.facts.to_string(),
            format!("{:.1}", proof.seconds),
            format!("{:.0}", proof.entries_per_second),
            proof.memory_mib.to_string(),
        ]);
    }
    table
}
