//! What the database proves by a query. Each statement stands in its file and returns who breaks its rule.

use super::{CULPRITS_MAX, Culprit};
use db::{Doing, Error, PgConnection};
use serde::Serialize;

/// One more than are named, to tell whether there are more.
const LIMIT: i64 = CULPRITS_MAX as i64 + 1;

macro_rules! checks {
    ($($name:ident: $file:literal),* $(,)?) => {
        $(
            pub(super) async fn $name(
                connection: &mut PgConnection,
                scope: Option<&str>,
            ) -> Result<Vec<Culprit>, Error> {
                sqlx::query_file_as!(Culprit, $file, scope, LIMIT)
                    .fetch_all(connection)
                    .await
                    .doing(concat!("checking ", stringify!($name)))
            }
        )*
    };
}

checks! {
    transactions_balance: "src/verify/transactions_balance.sql",
    transactions_numbered: "src/verify/transactions_numbered.sql",
    heads: "src/verify/heads.sql",
    usage_kept: "src/verify/usage_kept.sql",
    balances: "src/verify/balances.sql",
    lots: "src/verify/lots.sql",
    lots_owned: "src/verify/lots_owned.sql",
    credits_beside_debt: "src/verify/credits_beside_debt.sql",
    events_numbered: "src/verify/events_numbered.sql",
    events_heads: "src/verify/events_heads.sql",
    events_published: "src/verify/events_published.sql",
}

pub(super) async fn facts_settled(
    connection: &mut PgConnection,
    kinds: &[String],
) -> Result<Vec<Culprit>, Error> {
    sqlx::query_file_as!(Culprit, "src/verify/facts_settled.sql", kinds, LIMIT)
        .fetch_all(connection)
        .await
        .doing("checking facts_settled")
}

pub(super) async fn refusals_kept(connection: &mut PgConnection) -> Result<Vec<Culprit>, Error> {
    sqlx::query_file_as!(Culprit, "src/verify/refusals_kept.sql", LIMIT)
        .fetch_all(connection)
        .await
        .doing("checking refusals_kept")
}

pub(super) async fn outcomes_admitted(connection: &mut PgConnection) -> Result<Vec<Culprit>, Error> {
    sqlx::query_file_as!(Culprit, "src/verify/outcomes_admitted.sql", LIMIT)
        .fetch_all(connection)
        .await
        .doing("checking outcomes_admitted")
}

pub(super) async fn facts_intact(connection: &mut PgConnection) -> Result<Vec<Culprit>, Error> {
    sqlx::query_file_as!(Culprit, "src/verify/facts_intact.sql", LIMIT)
        .fetch_all(connection)
        .await
        .doing("checking facts_intact")
}

pub(super) async fn payments_known(connection: &mut PgConnection) -> Result<Vec<Culprit>, Error> {
    sqlx::query_file_as!(Culprit, "src/verify/payments_known.sql", LIMIT)
        .fetch_all(connection)
        .await
        .doing("checking payments_known")
}

pub(super) async fn facts_posted(connection: &mut PgConnection) -> Result<Vec<Culprit>, Error> {
    sqlx::query_file_as!(Culprit, "src/verify/facts_posted.sql", LIMIT)
        .fetch_all(connection)
        .await
        .doing("checking facts_posted")
}

/// Where every fact that came through the gate is: admitted = unread + applied + no-op + waiting + ignored + contradicts +
/// refused + dead-lettered + in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Conservation {
    pub admitted: i64,
    /// Came again and were stopped.
    pub repeats: i64,
    /// Of kinds that no worker reads: kept in the inbox for one that will.
    pub unread: i64,
    /// Without an outcome, for the ledger gave up on them: their letters are open, being replayed, or discarded.
    pub dead_lettered: i64,
    pub in_flight: i64,
    /// Deliveries kept at the front door because RabbitMQ could not take them.
    pub kept: i64,
    pub applied: i64,
    pub no_op: i64,
    pub waiting: i64,
    pub ignored: i64,
    pub contradicts: i64,
    /// Given up on with an outcome of their own: each is a dead letter, too.
    pub refused: i64,
}

impl Conservation {
    pub fn settled(&self) -> i64 {
        self.applied + self.no_op + self.waiting + self.ignored + self.contradicts + self.refused
    }
}

pub(super) async fn conservation(
    connection: &mut PgConnection,
    kinds: &[String],
) -> Result<Conservation, Error> {
    sqlx::query_file_as!(Conservation, "src/verify/conservation.sql", kinds)
        .fetch_one(connection)
        .await
        .doing("counting facts")
}

/// How much there is to check.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub accounts: i64,
    pub transactions: i64,
    pub lots: i64,
    pub events: i64,
    pub payments: i64,
    pub outbox: i64,
    pub usages_and_grants: i64,
}

pub(super) async fn size(connection: &mut PgConnection, scope: Option<&str>) -> Result<Size, Error> {
    sqlx::query_file_as!(Size, "src/verify/size.sql", scope)
        .fetch_one(connection)
        .await
        .doing("counting what there is to check")
}

/// A check of a long journal takes longer than a worker's statement may; and each statement is planned for its own
/// scope and place, for a plan that fits any would read the whole journal for the last chunk.
pub(super) async fn take_time(connection: &mut PgConnection) -> Result<(), Error> {
    sqlx::query!(
        "select set_config('statement_timeout', '0', true) as timeout,
                set_config('plan_cache_mode', 'force_custom_plan', true) as plans",
    )
    .fetch_one(connection)
    .await
    .doing("setting the limits of a snapshot")?;
    Ok(())
}
