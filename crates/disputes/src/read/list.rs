//! Cases in the order in which they want attention.

use super::snapshot;
use crate::store::money;
use db::{Doing, Error, PgConnection, Pool};
use domain::dispute::{CaseState, Overlap, overlap};
use domain::fact::RestrictionKind;
use domain::record::PaymentRecord;
use domain::{AccountId, CaseId, PaymentId};
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::types::Json;
use time::{OffsetDateTime, UtcOffset};

/// Which cases to list; everything that is set must fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DisputeFilter {
    pub state: Option<CaseState>,
    pub account: Option<AccountId>,
    /// By any id of the purchase.
    pub payment: Option<PaymentId>,
    pub processor: Option<String>,
    /// Evidence is due before this moment.
    pub due_before: Option<OffsetDateTime>,
    /// Only those that have not ended.
    pub is_open: bool,
    /// Begin after this case: the last one of the list before. It is looked for where it stands now.
    pub after: Option<CaseId>,
    pub limit: i64,
}

/// A line of the list of cases.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DisputeLine {
    pub dispute: CaseId,
    pub state: CaseState,
    /// None while the payment is not known, or undelivered.
    pub account: Option<String>,
    pub payment: Option<String>,
    /// In the main unit of its currency, with its places: `10.00`.
    pub amount: Option<String>,
    pub currency: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub evidence_due_by: Option<OffsetDateTime>,
    /// Until evidence is due: whole hours, less than zero once it was.
    pub hours_left: Option<i64>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub opened_at: Option<OffsetDateTime>,
    /// When the processor last said something of it.
    #[serde(with = "time::serde::rfc3339::option")]
    pub heard_at: Option<OffsetDateTime>,
    /// What it restricts now.
    pub restrictions: Vec<RestrictionKind>,
    /// Nobody vouches that the payment is the account's: the case restricts nobody.
    pub is_claimed: bool,
    /// An issuer's suspicion alone.
    pub is_early_warning: bool,
    /// The dispute that took an early warning over.
    pub joined: Option<String>,
    /// How often it was opened anew after it had ended.
    pub reopened: i32,
    /// What was said of it that no processor's object does.
    pub illegal_steps: i32,
    /// Refunds that meet it on its payment, with what that costs.
    pub overlap: Option<Overlap>,
}

pub(super) struct Row {
    dispute: String,
    payment_ids: Vec<String>,
    state: String,
    account: Option<String>,
    payment: Option<String>,
    amount: Option<Decimal>,
    currency: Option<String>,
    evidence_due_by: Option<OffsetDateTime>,
    opened_at: Option<OffsetDateTime>,
    heard_at: Option<OffsetDateTime>,
    restrictions: Vec<String>,
    is_claimed: bool,
    is_early_warning: bool,
    joined: Option<String>,
    reopened: i32,
    illegal_steps: i32,
    payment_record: Option<Json<PaymentRecord>>,
}

impl Row {
    pub(super) fn read(self, now: OffsetDateTime) -> Result<DisputeLine, Error> {
        let dispute: CaseId = stored("a dispute id", self.dispute.parse())?;
        let state: CaseState = stored("a dispute's state", self.state.parse())?;
        let kinds = self.restrictions.iter().map(|kind| stored("a restriction", kind.parse()));
        let mut restrictions: Vec<RestrictionKind> = kinds.collect::<Result<_, _>>()?;
        restrictions.sort_unstable();
        let amount = money(self.amount, self.currency.as_deref())?;
        let is_disputed = !self.is_early_warning && !state.has_ended();
        // Before its payment is found, the first id that the processor named stands for it.
        let payment = self.payment.or_else(|| self.payment_ids.into_iter().next());
        Ok(DisputeLine {
            dispute,
            state,
            account: self.account,
            payment,
            amount: amount.map(|amount| amount.display_amount()),
            currency: amount.map(|amount| amount.currency().code().to_owned()),
            evidence_due_by: self.evidence_due_by.map(in_utc),
            hours_left: self.evidence_due_by.map(|due| hours_left(due, now)),
            opened_at: self.opened_at.map(in_utc),
            heard_at: self.heard_at.map(in_utc),
            restrictions,
            is_claimed: self.is_claimed,
            is_early_warning: self.is_early_warning,
            joined: self.joined,
            reopened: self.reopened,
            illegal_steps: self.illegal_steps,
            overlap: self.payment_record.and_then(|record| overlap(&record.0, is_disputed)),
        })
    }
}

pub(super) fn stored<T, E: std::fmt::Display>(what: &'static str, read: Result<T, E>) -> Result<T, Error> {
    read.map_err(|error| Error::stored(what, error.to_string()))
}

/// Postgres tells times in the session's zone.
pub(super) fn in_utc(at: OffsetDateTime) -> OffsetDateTime {
    at.to_offset(UtcOffset::UTC)
}

/// Whole hours until a deadline, rounded down: never more than there are.
fn hours_left(due: OffsetDateTime, now: OffsetDateTime) -> i64 {
    (due - now).whole_seconds().div_euclid(3600)
}

/// Cases: those with a deadline first, the nearest of them first of all; then the newest first.
///
/// # Errors
/// Those of the database.
pub async fn disputes(
    pool: &Pool,
    filter: &DisputeFilter,
    now: OffsetDateTime,
) -> Result<Vec<DisputeLine>, Error> {
    list(&mut *snapshot(pool).await?, filter, now).await
}

pub(super) async fn list(
    connection: &mut PgConnection,
    filter: &DisputeFilter,
    now: OffsetDateTime,
) -> Result<Vec<DisputeLine>, Error> {
    let rows = sqlx::query_file_as!(
        Row,
        "src/read/list.sql",
        filter.state.map(CaseState::as_str),
        filter.account.as_ref().map(AccountId::as_str),
        filter.payment.as_ref().map(PaymentId::as_str),
        filter.processor,
        filter.due_before,
        filter.is_open,
        filter.after.as_ref().map(CaseId::as_str),
        filter.limit,
    )
    .fetch_all(connection)
    .await
    .doing("listing disputes")?;
    rows.into_iter().map(|row| row.read(now)).collect()
}

/// One case; nothing where nobody has spoken of it.
pub(super) async fn line(
    connection: &mut PgConnection,
    id: &CaseId,
    now: OffsetDateTime,
) -> Result<Option<DisputeLine>, Error> {
    let row = sqlx::query_file_as!(Row, "src/read/line.sql", id.as_str())
        .fetch_optional(connection)
        .await
        .doing("reading a dispute")?;
    row.map(|row| row.read(now)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn hours_left_are_never_more_than_there_are() {
        let check = |now, expect: i64| assert_eq!(hours_left(datetime!(2026-11-20 10:00 UTC), now), expect);
        check(datetime!(2026-11-20 08:00 UTC), 2);
        check(datetime!(2026-11-20 08:00:01 UTC), 1);
        check(datetime!(2026-11-20 09:59:59 UTC), 0);
        check(datetime!(2026-11-20 10:00 UTC), 0);
        check(datetime!(2026-11-20 10:00:01 UTC), -1);
        check(datetime!(2026-11-20 12:30 +1), -2);
    }
}
