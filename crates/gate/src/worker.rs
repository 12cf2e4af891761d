//! The worker as the fleet lists and runs it.

use crate::settings::Settings;
use crate::{Door, Gate, code, erasure, purge};
use bus::{QueueSpec, exchange, queue};
use db::{Doing, Pool};
use jobs::{Floor, Found, Member, Needs, Pass, WorkerSpec};
use std::time::Duration;
use time::OffsetDateTime;

pub const WORKER: WorkerSpec = WorkerSpec {
    name: "gate",
    // A door takes every routing key: what does not belong there is dead-lettered with a reason, never dropped.
    queues: &[
        QueueSpec::new(queue::GATE, "gate", &[(exchange::VERIFIED, "#")]),
        QueueSpec::new(queue::GATE_INBOUND, "gate", &[(exchange::INBOUND, "#")]),
    ],
    codes: &code::ALL,
    alerts: &[],
    gauges: None,
    checks: &[],
    needs: Needs::Database,
};

/// How often old bodies and texts are looked for.
const PURGE_EVERY: Duration = Duration::from_secs(600);

/// Deleting a portion of them.
const PURGE_LIMIT: Duration = Duration::from_secs(120);

/// Raw bodies deleted in one go.
const PURGE_AT_ONCE: i64 = 5_000;

/// The gates of both doors, and what is forgotten in time.
pub fn member(settings: Settings, floor: &Floor) -> Member {
    let gate = |door| Gate::new(door, floor.namespace.clone(), floor.settings.clone(), floor.readers.clone());
    let member = Member::new()
        .reads(gate(Door::Verified))
        .reads(gate(Door::Inbound(settings.publishers)))
        .pass(purge_bodies(floor.pool.clone(), settings.retention.raw_deliveries));
    match settings.retention.fact_texts {
        Some(retention) => member.pass(erase_texts(floor.pool.clone(), retention)),
        None => member,
    }
}

/// Deletes raw bodies whose retention is over.
fn purge_bodies(pool: Pool, retention: Duration) -> Pass {
    Pass::new("purge_bodies", PURGE_EVERY, PURGE_LIMIT, move || {
        let pool = pool.clone();
        async move {
            let mut connection = pool.acquire().await.doing("taking a connection")?;
            let before = OffsetDateTime::now_utc() - retention;
            let bodies = purge(&mut connection, before, PURGE_AT_ONCE).await?;
            if bodies > 0 {
                tracing::info!(bodies, "purged raw bodies after their retention");
            }
            Ok::<_, db::Error>(Found::more_if(bodies == PURGE_AT_ONCE as u64))
        }
    })
}

/// Erases what strangers wrote into facts, once its retention is over.
fn erase_texts(pool: Pool, retention: Duration) -> Pass {
    Pass::new("erase_texts", PURGE_EVERY, PURGE_LIMIT, move || {
        let pool = pool.clone();
        async move {
            let now = OffsetDateTime::now_utc();
            let facts = erasure::erase_older(&pool, now - retention, now).await?;
            if facts > 0 {
                tracing::info!(facts, "erased texts of facts after their retention");
            }
            // There may be more than are erased at a time.
            Ok::<_, db::Error>(Found::more_if(facts > 0))
        }
    })
}
