//! The worker as the fleet lists and runs it.

use crate::{Ledger, code, read};
use bus::{QueueSpec, exchange};
use db::PgConnection;
use domain::ledger::Rules;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jobs::{Floor, Gauge, Member, Needs, WorkerSpec};
use std::time::Duration;
use time::OffsetDateTime;

/// The queue of the ledger, without the namespace.
pub const QUEUE: &str = "ledger";

pub const WORKER: WorkerSpec = WorkerSpec {
    name: "ledger",
    queues: &[QueueSpec::new(
        QUEUE,
        "ledger",
        &[
            (exchange::FACTS, "fact.payment"),
            (exchange::FACTS, "fact.movement"),
            (exchange::FACTS, "fact.customer"),
            (exchange::FACTS, "fact.usage"),
            (exchange::FACTS, "fact.grant"),
            (exchange::FACTS, "fact.hold"),
            (exchange::FACTS, "fact.adjustment"),
            (exchange::FACTS, "fact.assignment"),
            (exchange::FACTS, "fact.valuation"),
            (exchange::FACTS, "fact.expiry"),
        ],
    )],
    codes: &code::ALL,
    alerts: &[],
    gauges: Some(gauges),
    checks: &[],
    needs: Needs::Database,
};

/// What the worker is configured by.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What decides about credits.
    pub rules: Rules,
    /// How often lots are looked for whose time is up.
    pub expire_every: Duration,
}

pub fn member(settings: Settings, floor: &Floor) -> Member {
    Member::new()
        .posts(
            Ledger::new(floor.namespace.clone(), settings.rules),
            |connection, cause, fact, accounts, at| {
                read::posted(connection, cause, fact, accounts, at).boxed()
            },
        )
        .emits()
}

fn gauges(connection: &mut PgConnection) -> BoxFuture<'_, Result<Vec<Gauge>, db::Error>> {
    async {
        let open = read::gauges(connection).await?;
        let waiting =
            open.undelivered_since.map_or(0.0, |since| (OffsetDateTime::now_utc() - since).as_seconds_f64());
        Ok(vec![
            Gauge::new("bursar_undelivered_payments", open.undelivered as f64),
            Gauge::new("bursar_undelivered_oldest_seconds", waiting),
            Gauge::new("bursar_shell_payments", open.shells as f64),
        ])
    }
    .boxed()
}
