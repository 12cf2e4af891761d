//! The worker as the fleet lists and runs it.

use crate::settings::Settings;
use crate::{Ledger, code, expiry, read};
use bus::{QueueSpec, exchange};
use db::PgConnection;
use facts::FactWriter;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jobs::{Floor, Found, Gauge, Member, Needs, Pass, WorkerSpec};
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

/// A look at all accounts for lots whose time has come.
const EXPIRY_LIMIT: Duration = Duration::from_secs(600);

pub fn member(settings: Settings, floor: &Floor) -> Member {
    Member::new()
        .posts(
            Ledger::new(floor.namespace.clone(), settings.rules),
            |connection, cause, fact, accounts, at| {
                read::posted(connection, cause, fact, accounts, at).boxed()
            },
        )
        .pass(expire(floor.whole.clone(), floor.writer.clone(), settings.expire_every))
        .emits()
}

/// Looks for lots whose time has come, and states them.
fn expire(pool: db::Pool, writer: FactWriter, every: Duration) -> Pass {
    Pass::new("expiry", every, EXPIRY_LIMIT, move || {
        let (pool, writer) = (pool.clone(), writer.clone());
        async move {
            let accounts = expiry::pass_once(&pool, &writer, OffsetDateTime::now_utc()).await?;
            if accounts > 0 {
                tracing::info!(accounts, "stated lots whose time has come");
            }
            Ok::<_, expiry::ExpiryError>(Found::Nothing)
        }
    })
}

fn gauges(connection: &mut PgConnection) -> BoxFuture<'_, Result<Vec<Gauge>, db::Error>> {
    async {
        let open = read::gauges(connection).await?;
        let waiting =
            open.undelivered_since.map_or(0.0, |since| (OffsetDateTime::now_utc() - since).as_seconds_f64());
        Ok(vec![
            Gauge::new(
                "bursar_undelivered_payments",
                "Payments that were paid and gave no credits",
                open.undelivered as f64,
            ),
            Gauge::new("bursar_undelivered_oldest_seconds", "Age of the oldest of them", waiting),
            Gauge::new(
                "bursar_shell_payments",
                "Payments known only by what was said of them in passing",
                open.shells as f64,
            ),
        ])
    }
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_reads_facts_about_credits_and_no_others() {
        let mut kinds: Vec<&str> =
            WORKER.queues.iter().flat_map(|queue| queue.bindings).map(|(_, kind)| *kind).collect();
        kinds.sort_unstable();
        assert_eq!(
            kinds,
            [
                "fact.adjustment",
                "fact.assignment",
                "fact.customer",
                "fact.expiry",
                "fact.grant",
                "fact.hold",
                "fact.movement",
                "fact.payment",
                "fact.usage",
                "fact.valuation"
            ]
        );
    }
}
