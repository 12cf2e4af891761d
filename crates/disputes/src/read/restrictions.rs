//! What restricts an account, and what did.

use super::list::{in_utc, stored};
use super::snapshot;
use db::{Doing, Error, PgConnection, Pool};
use domain::dispute::CauseKind;
use domain::fact::RestrictionKind;
use domain::{AccountId, CaseId};
use serde::Serialize;
use time::OffsetDateTime;

/// A case restricts in a few ways at each of its stages.
const OF_CASE_MAX: i64 = 1000;

/// One reason to restrict an account in one way; it stands while `ended_at` is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestrictionLine {
    pub kind: RestrictionKind,
    pub cause: CauseKind,
    /// The case, where it is one's, or the one that fulfilled the rule of risk.
    pub case: Option<String>,
    /// The operator, where it is one's.
    pub by: Option<String>,
    /// Why an operator put it on.
    pub reason: Option<String>,
    /// Of a case its stage and round: `formal`, `formal#2`.
    pub stage: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
    /// The operator who lifted it.
    pub lifted_by: Option<String>,
    pub lifted_reason: Option<String>,
}

impl RestrictionLine {
    pub fn stands(&self) -> bool {
        self.ended_at.is_none()
    }
}

/// What restricts an account and what did, the latest first.
///
/// # Errors
/// Those of the database.
pub async fn restrictions(
    pool: &Pool,
    account: &AccountId,
    limit: i64,
) -> Result<Vec<RestrictionLine>, Error> {
    list(&mut *snapshot(pool).await?, Some(account), None, limit).await
}

pub(super) async fn of_case(
    connection: &mut PgConnection,
    case: &CaseId,
) -> Result<Vec<RestrictionLine>, Error> {
    list(connection, None, Some(case), OF_CASE_MAX).await
}

async fn list(
    connection: &mut PgConnection,
    account: Option<&AccountId>,
    case: Option<&CaseId>,
    limit: i64,
) -> Result<Vec<RestrictionLine>, Error> {
    let rows = sqlx::query_file!(
        "src/read/restrictions.sql",
        account.map(AccountId::as_str),
        case.map(CaseId::as_str),
        limit
    )
    .fetch_all(connection)
    .await
    .doing("listing restrictions")?;
    let lines = rows.into_iter().map(|row| {
        let cause: CauseKind = stored("a cause", row.cause_kind.parse())?;
        let (case, by, stage) = match cause {
            CauseKind::Case => (Some(row.cause), None, Some(row.stage)),
            CauseKind::RiskRule => (Some(row.stage), None, None),
            CauseKind::Operator => (None, Some(row.cause), None),
        };
        Ok(RestrictionLine {
            kind: stored("a restriction", row.kind.parse())?,
            cause,
            case,
            by,
            reason: row.reason,
            stage,
            since: in_utc(row.since),
            ended_at: row.ended_at.map(in_utc),
            lifted_by: row.lifted_by,
            lifted_reason: row.lifted_reason,
        })
    });
    lines.collect()
}
