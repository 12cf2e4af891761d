//! The admin address: live, ready, metrics.

use crate::fleet::WorkerName;
use crate::labels;
use crate::process;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bus::{Broker, Health, Topology};
use db::{Doing, PgConnection};
use dead_letters::alerts::Alert;
use dead_letters::read::Gauge;
use metrics::Label;
use metrics_exporter_prometheus::PrometheusHandle;
use rust_decimal::prelude::ToPrimitive;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

/// A server that does not answer a probe within this is away.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub struct Admin {
    pub metrics: PrometheusHandle,
    pub pool: db::Pool,
    pub publish: Broker,
    pub health: Health,
    pub topology: Topology,
    pub measured: Measured,
    pub stop: CancellationToken,
}

pub fn routes(admin: Admin) -> Router {
    Router::new()
        .route("/healthz", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

async fn within<T>(probe: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(PROBE_TIMEOUT, probe).await.ok()
}

/// Says nothing about the servers: a broker's outage must not restart the fleet. A lane that no limit frees is freed by a new
/// start alone, and a message that is the reason of it is found out by some of them.
async fn live(State(admin): State<Admin>) -> Response {
    match &admin.health.stuck()[..] {
        [] => (StatusCode::OK, "ok\n".to_owned()).into_response(),
        stuck => {
            let body = format!("stuck: {}\n", stuck.join(", "));
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}

async fn ready(State(admin): State<Admin>) -> Response {
    let database = match within(db::is_ready(&admin.pool)).await {
        Some(Ok(true)) => "ready".to_owned(),
        Some(Ok(false)) => "migrations are missing".to_owned(),
        Some(Err(error)) => error.to_string(),
        None => "no answer".to_owned(),
    };
    // Who connects just now is asked for no longer than others.
    let broker = match within(admin.publish.is_connected()).await {
        Some(true) => "ready",
        Some(false) | None => "not connected",
    };
    let (idle, losing, stuck) = (admin.health.idle(), admin.health.losing(), admin.health.stuck());
    let ready = database == "ready" && broker == "ready" && admin.health.has_started();
    let ready = ready && idle.is_empty() && losing.is_empty() && stuck.is_empty();
    let ready = ready && !admin.stop.is_cancelled();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "ready": ready,
        "database": database,
        "broker": broker,
        "without_consumer": idle,
        "losing_consumers": losing,
        "stuck": stuck,
    });
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// Counters come from the process; depths are asked for now, and left out where a server does not answer.
async fn metrics(State(admin): State<Admin>) -> Response {
    for (lane, busy) in admin.health.busy() {
        metrics::gauge!("bursar_lane_busy_seconds", "lane" => lane).set(busy.as_secs_f64());
    }
    within(measure_queues(&admin)).await;
    within(measure_database(&admin)).await;
    process::measure();
    admin.metrics.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], admin.metrics.render()).into_response()
}

async fn measure_queues(admin: &Admin) {
    for queue in &admin.topology.queues {
        if let Ok(depth) = admin.publish.depth(&queue.name).await {
            metrics::gauge!("bursar_queue_messages", "queue" => queue.name.clone()).set(depth.ready);
        }
    }
}

async fn measure_database(admin: &Admin) -> Result<(), db::Error> {
    let mut connection = admin.pool.acquire().await.doing("taking a connection")?;
    metrics::gauge!("bursar_unpublished_events").set(db::outbox::unpublished(&mut connection).await? as f64);
    metrics::gauge!("bursar_kept_messages").set(db::kept::count(&mut connection).await? as f64);
    let open = ledger::read::gauges(&mut connection).await?;
    metrics::gauge!("bursar_undelivered_payments").set(open.undelivered as f64);
    let waiting =
        open.undelivered_since.map_or(0.0, |since| (OffsetDateTime::now_utc() - since).as_seconds_f64());
    metrics::gauge!("bursar_undelivered_oldest_seconds").set(waiting);
    metrics::gauge!("bursar_shell_payments").set(open.shells as f64);
    measure_dead_letters(admin, &mut connection).await
}

async fn measure_dead_letters(admin: &Admin, connection: &mut PgConnection) -> Result<(), db::Error> {
    let (open, at_stake) = dead_letters::read::gauges(connection).await?;
    let oldest = open.iter().map(|gauge| gauge.oldest).min();
    let waiting = oldest.map_or(0.0, |since| (OffsetDateTime::now_utc() - since).as_seconds_f64());
    metrics::gauge!("bursar_dead_letters_oldest_seconds").set(waiting);
    admin.measured.set("bursar_dead_letters_open", by_worker_and_code(&open));
    let at_stake = at_stake.into_iter().map(|(unit, sum)| {
        // What a dashboard shows; the exact sum is in the database.
        (vec![Label::new("unit", unit)], sum.to_f64().unwrap_or(f64::MAX))
    });
    admin.measured.set("bursar_dead_letters_at_stake", at_stake.collect());
    let raised = dead_letters::alerts::which(connection).await?;
    for alert in Alert::ALL {
        let count = raised.get(&alert).copied().unwrap_or(0);
        metrics::gauge!("bursar_alerts", "alert" => alert.as_str()).set(count as f64);
    }
    let kinds = dead_letters::alerts::kinds(connection).await?;
    metrics::gauge!("bursar_dead_letters_kinds").set(kinds as f64);
    Ok(())
}

/// A letter that is not the fleet's own says what it likes of who gave up on it and why: that counts as `other`, so that nobody
/// who may publish to the exchange of dead letters makes up labels.
fn by_worker_and_code(open: &[Gauge]) -> BTreeMap<Labels, f64> {
    let mut counts: BTreeMap<Labels, i64> = BTreeMap::new();
    for gauge in open {
        let (worker, code) = match gauge.worker.parse::<WorkerName>() {
            Ok(worker) => (worker.as_str(), labels::code(&gauge.code)),
            Err(_) => (labels::OTHER, labels::OTHER),
        };
        let labels = vec![Label::new("worker", worker), Label::new("code", code)];
        *counts.entry(labels).or_default() += gauge.open;
    }
    counts.into_iter().map(|(labels, count)| (labels, count as f64)).collect()
}

/// What tells a gauge from others of its name.
type Labels = Vec<Label>;

/// Gauges that were measured with labels: where one is gone it is told as 0, not as what it last was.
#[derive(Clone, Default)]
pub struct Measured(Arc<Mutex<BTreeSet<(&'static str, Labels)>>>);

impl Measured {
    fn set(&self, name: &'static str, gauges: BTreeMap<Labels, f64>) {
        let mut measured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = measured.iter().filter(|(of, labels)| *of == name && !gauges.contains_key(labels));
        gone.for_each(|(_, labels)| metrics::gauge!(name, labels.clone()).set(0.0));
        for (labels, value) in gauges {
            metrics::gauge!(name, labels.clone()).set(value);
            measured.insert((name, labels));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_fleets_own_workers_are_labels() {
        let gauge = |worker: &str, code: &str| Gauge {
            worker: worker.to_owned(),
            code: code.to_owned(),
            open: 2,
            oldest: OffsetDateTime::UNIX_EPOCH,
        };
        let open = [
            gauge("gate", "forbidden"),
            gauge("gate", "jane"),
            gauge("evil\x1b[2J", "unexplained"),
            gauge("evil2", "x"),
        ];
        let counts: Vec<String> = by_worker_and_code(&open)
            .into_iter()
            .map(|(labels, count)| {
                let labels: Vec<&str> = labels.iter().map(Label::value).collect();
                format!("{} {count}", labels.join(" "))
            })
            .collect();
        assert_eq!(counts, ["gate forbidden 2", "gate other 2", "other other 4"]);
    }
}
