//! The admin address: live, ready, metrics.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bus::{Broker, Health, Topology};
use db::Doing;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use std::future::Future;
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
    pub stop: CancellationToken,
}

pub fn routes(admin: Admin) -> Router {
    Router::new()
        // Live says nothing about the servers: a broker's outage must not restart the fleet.
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

async fn within<T>(probe: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(PROBE_TIMEOUT, probe).await.ok()
}

async fn ready(State(admin): State<Admin>) -> Response {
    let database = match within(db::is_ready(&admin.pool)).await {
        Some(Ok(true)) => "ready".to_owned(),
        Some(Ok(false)) => "migrations are missing".to_owned(),
        Some(Err(error)) => error.to_string(),
        None => "no answer".to_owned(),
    };
    let broker = match admin.publish.is_connected().await {
        true => "ready",
        false => "not connected",
    };
    let idle = admin.health.idle();
    let ready = database == "ready" && broker == "ready" && admin.health.has_started() && idle.is_empty();
    let ready = ready && !admin.stop.is_cancelled();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ "ready": ready, "database": database, "broker": broker, "without_consumer": idle });
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// Counters come from the process; depths are asked for now, and left out where a server does not answer.
async fn metrics(State(admin): State<Admin>) -> Response {
    within(measure_queues(&admin)).await;
    within(measure_database(&admin)).await;
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
    Ok(())
}
