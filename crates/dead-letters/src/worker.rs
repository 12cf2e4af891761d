//! The worker as the fleet lists and runs it.

use crate::alerts::{Alert, LetterWatch};
use crate::read::{self, OpenLetters};
use crate::settings::Settings;
use crate::{DeadLetters, LetterRetention, alerts, code, purge, replay};
use bus::{QueueSpec, exchange, queue};
use db::PgConnection;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jobs::{Floor, Found, Gauge, Member, Needs, Pass, WorkerSpec};
use rust_decimal::prelude::ToPrimitive;
use std::time::Duration;
use time::OffsetDateTime;

pub const WORKER: WorkerSpec = WorkerSpec {
    name: "dead-letters",
    queues: &[QueueSpec {
        gives_up: false,
        ..QueueSpec::new(queue::DEAD_LETTERS, "dead-letters", &[(exchange::DEAD, "#")])
    }],
    codes: &code::ALL,
    alerts: &Alert::NAMES,
    gauges: Some(gauges),
    checks: &[],
    needs: Needs::Database,
};

/// How often old letters are looked for.
const PURGE_EVERY: Duration = Duration::from_secs(600);

/// Deleting a portion of them.
const PURGE_LIMIT: Duration = Duration::from_secs(120);

/// Letters deleted in one go.
const PURGE_AT_ONCE: i64 = 5_000;

/// Alerts are raised here, whether a ledger runs or not.
pub fn member(settings: Settings, floor: &Floor) -> Member {
    let (namespace, pool, publisher) =
        (floor.namespace.clone(), floor.pool.clone(), floor.publisher.sibling());
    let watch = LetterWatch::new(settings.alerts, floor.namespace.clone(), floor.consume.clone());
    Member::new()
        .reads(DeadLetters::new(floor.settings.clone(), floor.workers))
        .pass(replay::put_back(namespace, pool, publisher))
        .pass(replay::follow(floor.pool.clone(), floor.readers.clone()))
        .pass(purge_closed(floor.pool.clone(), settings.retention))
        .watches(WORKER.name, watch)
}

fn purge_closed(pool: db::Pool, retention: LetterRetention) -> Pass {
    Pass::new("purge_dead_letters", PURGE_EVERY, PURGE_LIMIT, move || {
        let pool = pool.clone();
        async move {
            let letters = purge(&pool, retention, OffsetDateTime::now_utc(), PURGE_AT_ONCE).await?;
            if letters > 0 {
                tracing::info!(letters, "purged closed dead letters after their retention");
            }
            // A large replay resolves more at a time than is deleted at a time.
            Ok::<_, db::Error>(Found::more_if(letters > 0))
        }
    })
}

const OPEN_HELP: &str = "Dead letters that are open or being replayed, by worker and code";

fn gauges(connection: &mut PgConnection) -> BoxFuture<'_, Result<Vec<Gauge>, db::Error>> {
    async {
        let (open, at_stake) = read::gauges(connection).await?;
        let mut gauges = vec![Gauge::new(
            "bursar_dead_letters_oldest_seconds",
            "Age of the oldest open dead letter",
            oldest_seconds(&open),
        )];
        gauges.extend(open.into_iter().map(|letters| {
            Gauge::new("bursar_dead_letters_open", OPEN_HELP, letters.open as f64)
                .with("worker", letters.worker)
                .with("code", letters.code)
        }));
        gauges.extend(at_stake.into_iter().map(|(unit, sum)| {
            // What a dashboard shows; the exact sum is in the database.
            Gauge::new(
                "bursar_dead_letters_at_stake",
                "Money and credits that hang on them, by unit",
                sum.to_f64().unwrap_or(f64::MAX),
            )
            .with("unit", unit)
        }));
        let kinds = alerts::kinds(connection).await?;
        gauges.push(Gauge::new(
            "bursar_dead_letters_kinds",
            "Kinds of failures that were ever seen",
            kinds as f64,
        ));
        Ok(gauges)
    }
    .boxed()
}

fn oldest_seconds(open: &[OpenLetters]) -> f64 {
    let oldest = open.iter().map(|letters| letters.oldest).min();
    oldest.map_or(0.0, |since| (OffsetDateTime::now_utc() - since).as_seconds_f64())
}
