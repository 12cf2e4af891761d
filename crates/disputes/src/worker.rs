//! The worker as the fleet lists and runs it.

use crate::deadlines::{self, DisputeWatch};
use crate::settings::Settings;
use crate::submission::{Courier, SubmitEvidence, UploadEvidence};
use crate::{Disputes, DisputesRebuilt, code, silence, take_up, verify};
use bus::{QueueSpec, exchange};
use db::{Doing, PgConnection, Pool};
use domain::dispute::Policy;
use facts::FactWriter;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jobs::http::{CallerSettings, HttpCaller};
use jobs::{Floor, Found, Gauge, Kinds, Member, Needs, Owner, Pass, RunnerPace, WorkerSpec};
use std::time::Duration;
use time::OffsetDateTime;

/// The queue of the worker, without the namespace.
pub const QUEUE: &str = "disputes";

pub const WORKER: WorkerSpec = WorkerSpec {
    name: "disputes",
    queues: &[
        QueueSpec::new(
            QUEUE,
            "disputes",
            &[(exchange::FACTS, "fact.dispute"), (exchange::FACTS, "fact.restriction")],
        ),
        QueueSpec::new(JOBS, "disputes", &[]),
    ],
    codes: &code::ALL,
    alerts: &deadlines::ALL,
    gauges: Some(gauges),
    checks: &verify::CHECKS,
    needs: Needs::Database,
};

/// Where replayed letters of its jobs come.
const JOBS: &str = "disputes.jobs";

/// The worker as the owner of its jobs.
struct Desk;

impl Owner for Desk {
    const WORKER: &'static str = WORKER.name;
    const QUEUE: &'static str = JOBS;
    const CODES: &'static [&'static str] = &code::ALL;
}

/// Uploading megabytes takes longer than most calls.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// How often it is looked whether the payment of a waiting case is known by now.
const TAKE_UP_EVERY: Duration = Duration::from_secs(2);

/// How often all cases are held against the payments that they are about.
const FOLLOW_EVERY: Duration = Duration::from_secs(60);

/// Taking up a portion of them.
const TAKE_UP_LIMIT: Duration = Duration::from_secs(60);

/// How often cases are looked for that have been silent for too long.
const SILENCE_EVERY: Duration = Duration::from_secs(600);

const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// # Errors
/// No calls to the outside can be made on this machine.
pub fn member(settings: Settings, floor: &Floor) -> Result<Member, String> {
    let Settings { policy, deadlines, silence, stripe } = settings;
    let calls = CallerSettings { whole: CALL_LIMIT, ..CallerSettings::default() };
    let caller = HttpCaller::new(calls).map_err(|error| error.to_string())?;
    let courier = Courier { caller, stripe, pool: floor.pool.clone() };
    let kinds =
        Kinds::<Desk>::default().with(UploadEvidence(courier.clone()))?.with(SubmitEvidence(courier))?;
    Ok(Member::new()
        .reads(Disputes::new(floor.namespace.clone(), policy.clone()))
        .rebuilds(DisputesRebuilt { policy: policy.clone() })
        .pass(take_up(floor.pool.clone(), policy.clone()))
        .pass(follow_payments(floor.whole.clone(), policy))
        .pass(decide_silent(floor.whole.clone(), floor.writer.clone(), silence))
        .watches(WORKER.name, DisputeWatch::new(deadlines))
        .carries_out(kinds, RunnerPace::default())
        .emits())
}

fn take_up(pool: Pool, policy: Policy) -> Pass {
    Pass::new("take_up_disputes", TAKE_UP_EVERY, TAKE_UP_LIMIT, move || {
        let (pool, policy) = (pool.clone(), policy.clone());
        async move { take_up::new_ones(&pool, &policy).await.map(Found::more_if) }
    })
}

fn follow_payments(pool: Pool, policy: Policy) -> Pass {
    Pass::new("follow_payments", FOLLOW_EVERY, TAKE_UP_LIMIT, move || {
        let (pool, policy) = (pool.clone(), policy.clone());
        async move { take_up::step(&pool, &policy).await.map(Found::more_if) }
    })
}

fn decide_silent(pool: Pool, writer: FactWriter, silence: Duration) -> Pass {
    Pass::new("silent_disputes", SILENCE_EVERY, SILENCE_LIMIT, move || {
        let (pool, writer) = (pool.clone(), writer.clone());
        async move {
            silence::step(&pool, &writer, silence, OffsetDateTime::now_utc()).await?;
            Ok::<_, silence::SilenceError>(Found::Nothing)
        }
    })
}

fn gauges(connection: &mut PgConnection) -> BoxFuture<'_, Result<Vec<Gauge>, db::Error>> {
    async {
        const STATES: [&str; 4] = ["warning", "open", "under_review", "reopened"];
        let rows = sqlx::query!(
            r#"select state as "state!", count(*) as "count!" from disputes
               where state in ('warning', 'open', 'under_review', 'reopened') group by state"#,
        )
        .fetch_all(&mut *connection)
        .await
        .doing("counting open disputes")?;
        let waiting = sqlx::query_scalar!(
            r#"select count(*) as "count!" from disputes where account is null and payment is null"#
        )
        .fetch_one(connection)
        .await
        .doing("counting disputes that wait for their payment")?;
        let count = |state: &str| rows.iter().find(|row| row.state == state).map_or(0, |row| row.count);
        let open = STATES.into_iter().map(|state| {
            Gauge::new(
                "bursar_open_disputes",
                "Disputes and warnings that have not ended",
                count(state) as f64,
            )
            .with("state", state)
        });
        let waiting = Gauge::new(
            "bursar_waiting_disputes",
            "Disputes of payments that are not known yet",
            waiting as f64,
        );
        Ok(open.chain([waiting]).collect())
    }
    .boxed()
}
