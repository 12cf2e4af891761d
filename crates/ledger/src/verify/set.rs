//! What the database proves by a query. Each statement stands in its file and returns who breaks its rule.

use super::{CULPRITS_MAX, Culprit};
use crate::Ledger;
use bus::Worker;
use db::{Doing, Error, PgConnection};
use facts::conservation::ReaderCounts;
use serde::Serialize;

/// One more than are named, to see whether there are more.
pub(super) const LIMIT: i64 = CULPRITS_MAX as i64 + 1;

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

/// Where every fact that came through the gate is: admitted = unread + not handed over + applied + no-op + waiting + ignored +
/// contradicts + refused + dead-lettered + in flight. The counts of the ledger stand here, those of other readers beside them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conservation {
    pub admitted: i64,
    /// Came again and were stopped.
    pub repeats: i64,
    /// Of kinds that the ledger does not read.
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
    /// Admitted before the ledger read their kind, and not handed over to it.
    #[serde(skip_serializing_if = "is_zero")]
    pub not_handed_over: i64,
    /// The same for each other reader of facts: of the facts of its kinds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<ReaderCounts>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(count: &i64) -> bool {
    *count == 0
}

impl Conservation {
    pub fn settled(&self) -> i64 {
        self.applied + self.no_op + self.waiting + self.ignored + self.contradicts + self.refused
    }

    /// Of each reader, the ledger first.
    pub(super) fn of_all(&self) -> Vec<ReaderCounts> {
        let own = ReaderCounts {
            reader: Ledger::NAME.to_owned(),
            admitted: self.admitted - self.unread,
            not_handed_over: self.not_handed_over,
            dead_lettered: self.dead_lettered,
            in_flight: self.in_flight,
            applied: self.applied,
            no_op: self.no_op,
            waiting: self.waiting,
            ignored: self.ignored,
            contradicts: self.contradicts,
            refused: self.refused,
        };
        [vec![own], self.others.clone()].concat()
    }
}

/// The counts of the readers, beside those of the gate.
pub(super) async fn conservation(
    connection: &mut PgConnection,
    readers: Vec<ReaderCounts>,
) -> Result<Conservation, Error> {
    let gate = sqlx::query!(
        r#"select (select count(*) from inbox) as "admitted!",
                  (select coalesce(sum(repeats), 0)::bigint from inbox) as "repeats!",
                  (select count(*) from kept_messages) as "kept!""#,
    )
    .fetch_one(connection)
    .await
    .doing("counting facts")?;
    let (own, others): (Vec<_>, Vec<_>) =
        readers.into_iter().partition(|counts| counts.reader == Ledger::NAME);
    let own = own.into_iter().next().unwrap_or_default();
    Ok(Conservation {
        admitted: gate.admitted,
        repeats: gate.repeats,
        unread: gate.admitted - own.admitted,
        dead_lettered: own.dead_lettered,
        in_flight: own.in_flight,
        kept: gate.kept,
        applied: own.applied,
        no_op: own.no_op,
        waiting: own.waiting,
        ignored: own.ignored,
        contradicts: own.contradicts,
        refused: own.refused,
        not_handed_over: own.not_handed_over,
        others,
    })
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
/// scope and place, for a plan that fits any would read the whole journal for the last chunk. To compile each would take longer
/// than it saves.
pub(super) async fn take_time(connection: &mut PgConnection) -> Result<(), Error> {
    sqlx::query!(
        "select set_config('statement_timeout', '0', true) as timeout,
                set_config('plan_cache_mode', 'force_custom_plan', true) as plans,
                set_config('jit', 'off', true) as jit",
    )
    .fetch_one(connection)
    .await
    .doing("setting the limits of a snapshot")?;
    Ok(())
}
