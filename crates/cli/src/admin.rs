//! The admin address: live, ready, metrics.

use crate::labels;
use crate::process;
use crate::workers;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bus::{Broker, Health, Topology};
use db::Doing;
use jobs::Gauge;
use metrics::Label;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
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

/// Says nothing about the servers: a broker's outage must not restart the fleet. A lane, a pass or a call that no limit frees is
/// freed by a new start alone, and a message that is the reason of it is found out by some of them.
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
    measure_workers(&admin).await;
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
    metrics::gauge!("bursar_kept_messages").set(db::spool::count(&mut connection).await? as f64);
    let raised = jobs::watch::which(&mut connection).await?;
    for alert in workers::alerts() {
        let count = raised.get(alert).copied().unwrap_or(0);
        metrics::gauge!("bursar_alerts", "alert" => alert).set(count as f64);
    }
    Ok(())
}

/// Each worker's own gauges within a time of their own: one that cannot be measured hides none of the others.
async fn measure_workers(admin: &Admin) {
    for worker in workers::ALL {
        let Some(gauges) = worker.spec.gauges else { continue };
        let asked = async {
            let mut connection = admin.pool.acquire().await.doing("taking a connection")?;
            gauges(&mut connection).await
        };
        match within(asked).await {
            Some(Ok(gauges)) => {
                gauges.iter().for_each(|gauge: &Gauge| metrics::describe_gauge!(gauge.name, gauge.help));
                admin.measured.set(worker.name(), by_labels(gauges));
            }
            Some(Err(error)) => tracing::warn!(worker = worker.name(), %error, "cannot measure its gauges"),
            None => tracing::warn!(worker = worker.name(), "its gauges take too long to measure"),
        }
    }
}

/// Gauges by name and labels. A label that says what a dead letter says of itself, of who gave up on it and why, is one of our
/// own words or `other`: nobody who may publish to the exchange of dead letters makes up labels.
fn by_labels(gauges: Vec<Gauge>) -> BTreeMap<(&'static str, Labels), f64> {
    let mut sums = BTreeMap::new();
    for gauge in gauges {
        let is_foreign = gauge.labels.iter().any(|(name, value)| *name == "worker" && !is_worker(value));
        let known = |name: &'static str, value: String| match name {
            "worker" | "code" if is_foreign => Label::new(name, labels::OTHER),
            "code" => Label::new(name, labels::code(&value)),
            _ => Label::new(name, value),
        };
        let labels = gauge.labels.into_iter().map(|(name, value)| known(name, value)).collect();
        #[expect(clippy::float_arithmetic, reason = "a gauge is no amount")]
        {
            *sums.entry((gauge.name, labels)).or_default() += gauge.value;
        }
    }
    sums
}

fn is_worker(name: &str) -> bool {
    workers::NAMES.contains(&name)
}

/// What tells a gauge from others of its name.
type Labels = Vec<Label>;

/// The worker that measured a gauge, its name and its labels.
type MeasuredGauge = (&'static str, &'static str, Labels);

/// Gauges that were measured, by worker: where one is gone it is 0, not what it last was.
#[derive(Clone, Default)]
pub struct Measured(Arc<Mutex<BTreeSet<MeasuredGauge>>>);

impl Measured {
    fn set(&self, worker: &'static str, gauges: BTreeMap<(&'static str, Labels), f64>) {
        let mut measured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, name, labels) in measured.iter().filter(|(of, ..)| *of == worker) {
            if !gauges.contains_key(&(*name, labels.clone())) {
                metrics::gauge!(*name, labels.clone()).set(0.0);
            }
        }
        for ((name, labels), value) in gauges {
            metrics::gauge!(name, labels.clone()).set(value);
            measured.insert((worker, name, labels));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_fleets_own_workers_are_labels() {
        let gauge = |worker: &str, code: &str| {
            Gauge::new("open", "open letters", 2.0).with("worker", worker).with("code", code)
        };
        let open = vec![
            gauge("gate", "forbidden"),
            gauge("gate", "jane"),
            gauge("evil\x1b[2J", "unexplained"),
            gauge("evil2", "x"),
        ];
        let counts: Vec<String> = by_labels(open)
            .into_iter()
            .map(|((_, labels), count)| {
                let labels: Vec<&str> = labels.iter().map(Label::value).collect();
                format!("{} {count}", labels.join(" "))
            })
            .collect();
        assert_eq!(counts, ["gate forbidden 2", "gate other 2", "other other 4"]);
    }
}
