//! Logs and metrics of the process.

use crate::process;
use crate::workers;
use anyhow::{Context, Result, bail};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

mod lines;
mod shown;

use lines::Lines;
use shown::Shown;

/// The fleet's, once its logs are started.
static LINES: OnceLock<Lines> = OnceLock::new();

/// At the end of the process: what was logged is written.
pub fn flush_logs() {
    if let Some(lines) = LINES.get() {
        lines.flush();
    }
}

/// Logs go to stderr: text, or JSON with `BURSAR_LOG_FORMAT=json`. `BURSAR_LOG` filters, for example
/// `info,bus=debug`; a command that is not the fleet is quiet unless asked. Where stderr takes nothing (its reader is gone, its
/// disk is full) lines are lost, and that is all.
///
/// The fleet waits for no reader; a command says what it has to say.
pub fn start_logs(is_fleet: bool) -> Result<()> {
    // lapin reports as errors what a command merely asks, such as whether a queue is there.
    let default_filter = if is_fleet { "info" } else { "error,lapin=off" };
    let filter = std::env::var("BURSAR_LOG").ok().filter(|text| !text.is_empty());
    let filter = EnvFilter::try_new(filter.as_deref().unwrap_or(default_filter))
        .context("BURSAR_LOG: expected a filter such as info or info,bus=debug")?;
    let format = std::env::var("BURSAR_LOG_FORMAT").unwrap_or_default();
    let stderr = match is_fleet {
        true => {
            let lines = Lines::to(std::io::stderr()).context("starting the log")?;
            BoxMakeWriter::new(LINES.get_or_init(|| lines).clone())
        }
        false => BoxMakeWriter::new(std::io::stderr),
    };
    // A line that cannot be written would be reported on stderr, and where that fails, too, by a panic in whoever logged it.
    let logs = tracing_subscriber::fmt::layer().log_internal_errors(false);
    let is_terminal = std::io::stderr().is_terminal();
    let logs = match format.as_str() {
        "" | "text" => logs.with_ansi(is_terminal).with_writer(Shown::text(stderr, is_terminal)).boxed(),
        "json" => logs.json().flatten_event(true).with_ansi(false).with_writer(Shown::json(stderr)).boxed(),
        other => bail!("BURSAR_LOG_FORMAT: expected text or json, got {other:?}"),
    };
    tracing_subscriber::registry().with(logs.with_filter(filter.and(filter_fn(may_be_logged)))).init();
    Ok(())
}

/// Whose logs may say everything that they are asked for: our own crates, which never log a body or a secret.
/// Beside these the workers' own.
const OWN: [&str; 7] = ["bursar", "bus", "db", "domain", "facts", "jobs", "processors"];

fn is_own(name: &str) -> bool {
    let is_called = |worker: &&str| {
        let letters = worker.bytes().map(|byte| if byte == b'-' { b'_' } else { byte });
        letters.eq(name.bytes())
    };
    OWN.contains(&name) || workers::NAMES.iter().any(is_called)
}

/// What libraries say in detail are frames, headers and statements, with bodies and passwords in them: whatever filter
/// somebody sets, no more than `info` is heard of them.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let name = metadata.target().split("::").next().unwrap_or_default();
    is_own(name) || *metadata.level() <= LevelFilter::INFO
}

/// From a millisecond to a minute; a batch in a hurry takes some milliseconds, one behind an outage minutes.
const LATENCY_BUCKETS: [f64; 17] =
    [0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0];

const BATCH_BUCKETS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];

/// Installs the process's recorder; what it holds is rendered for Prometheus by the handle.
pub fn start_metrics() -> Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full("bursar_latency_seconds".to_owned()), &LATENCY_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full("bursar_stage_seconds".to_owned()), &LATENCY_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full("bursar_pass_seconds".to_owned()), &LATENCY_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full("bursar_job_seconds".to_owned()), &LATENCY_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full("bursar_batch_facts".to_owned()), &BATCH_BUCKETS)?
        .install_recorder()
        .context("installing the metrics recorder")?;
    describe();
    process::describe();
    Ok(handle)
}

fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!("bursar_received_total", "Deliveries over HTTP, by door and answer");
    describe_counter!("bursar_door_refused_total", "Callers that a door sent away, by door and why");
    describe_counter!("bursar_door_panics_total", "Requests that ended by a panic, by door");
    describe_gauge!("bursar_door_connections", "Open connections, by door");
    describe_counter!(
        "bursar_facts_total",
        "Facts settled, by worker and outcome: translated, admitted, kept, repeated, applied, no_op, waiting, ignored, contradicts"
    );
    describe_counter!("bursar_dead_lettered_total", "Messages given up on, by worker and code");
    describe_counter!("bursar_retried_total", "Messages put on the retry ladder, by worker and code");
    describe_counter!("bursar_panics_total", "Panics that were caught, by worker");
    describe_counter!(
        "bursar_replays_total",
        "Replays that ended, by result: resolved, failed_again, stopped by their canary"
    );
    describe_counter!(
        "bursar_unrecognised_total",
        "Genuine deliveries that told nothing Bursar acts on, by processor and why"
    );
    describe_counter!("bursar_kept_total", "Messages kept in Postgres because RabbitMQ was away");
    describe_counter!("bursar_statements_total", "Statements of committed batches, by worker");
    describe_histogram!("bursar_batch_facts", "Facts in a batch, by worker");
    describe_histogram!(
        "bursar_latency_seconds",
        Unit::Seconds,
        "From a fact's arrival at Bursar until the worker settled it"
    );
    describe_histogram!(
        "bursar_stage_seconds",
        Unit::Seconds,
        "What a batch spends its time on: decide, forward, commit, announce"
    );
    describe_gauge!(
        "bursar_lane_busy_seconds",
        Unit::Seconds,
        "How long a lane has had its batch in hand, pauses and all"
    );
    describe_gauge!("bursar_queue_messages", "Messages ready in a queue");
    describe_gauge!("bursar_unpublished_events", "Events committed and not known to be published");
    describe_gauge!("bursar_kept_messages", "Messages kept in Postgres and not yet published");
    describe_histogram!(
        "bursar_pass_seconds",
        Unit::Seconds,
        "A step of what a worker does on a schedule, by pass and result: nothing, more, failed, panicked, hung"
    );
    describe_counter!(
        "bursar_job_attempts_total",
        "Attempts at calls to the outside, by kind and end: done, again, unknown, gave_up, crashed, late"
    );
    describe_histogram!("bursar_job_seconds", Unit::Seconds, "How long calls to the outside took, by kind");
    describe_gauge!("bursar_jobs_due", "Calls to the outside whose time has come, by kind");
    describe_gauge!("bursar_jobs_running", "Calls to the outside that are under way, by kind");
    describe_gauge!("bursar_alerts", "For how many things an alert is raised, by alert");
}
