//! What a gateway asks before it serves a call: balances and standing, by one statement, whatever the account has bought.

use db::{Doing, Error, PgConnection, Pool};
use domain::{AccountId, Credits};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use std::fmt;
use time::{OffsetDateTime, UtcOffset};

/// `GET /v1/accounts/{id}?view=standing`. Its fields are the first ones of [`AccountView`](super::AccountView).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StandingView {
    pub account: AccountId,
    /// Whether anybody has spoken of it.
    pub known: bool,
    pub available: Credits,
    pub held: Credits,
    pub debt: Credits,
    /// The number of its newest event.
    pub sequence: i64,
    pub standing: AccountStandings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountStanding {
    Allowed,
    Restricted,
}

/// What gateways let the account do: it is restricted while any cause stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountStandings {
    pub access: AccountStanding,
    pub checkout: AccountStanding,
    pub balance: AccountStanding,
    pub restrictions: Vec<Restriction>,
}

/// One kind of restriction by one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restriction {
    pub kind: RestrictionKind,
    pub cause: RestrictionCause,
    /// The case, where a case is the cause.
    pub case: Option<String>,
    /// The operator, where one is the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestrictionKind {
    /// Calls are not served.
    Access,
    /// Nothing can be bought.
    Checkout,
    /// Nothing can be spent.
    Balance,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestrictionCause {
    Case,
    RiskRule,
    Operator,
}

impl fmt::Display for RestrictionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RestrictionKind::Access => "access",
            RestrictionKind::Checkout => "checkout",
            RestrictionKind::Balance => "balance",
        })
    }
}

impl fmt::Display for RestrictionCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RestrictionCause::Case => "case",
            RestrictionCause::RiskRule => "risk_rule",
            RestrictionCause::Operator => "operator",
        })
    }
}

impl AccountStandings {
    fn of(mut restrictions: Vec<Restriction>) -> Self {
        // Postgres tells times in the session's zone.
        restrictions.iter_mut().for_each(|each| each.since = each.since.to_offset(UtcOffset::UTC));
        let standing = |kind| match restrictions.iter().any(|restriction| restriction.kind == kind) {
            true => AccountStanding::Restricted,
            false => AccountStanding::Allowed,
        };
        Self {
            access: standing(RestrictionKind::Access),
            checkout: standing(RestrictionKind::Checkout),
            balance: standing(RestrictionKind::Balance),
            restrictions,
        }
    }
}

impl StandingView {
    /// An account that nobody has spoken of.
    pub fn unknown(account: AccountId) -> Self {
        Self {
            account,
            known: false,
            available: Credits::ZERO,
            held: Credits::ZERO,
            debt: Credits::ZERO,
            sequence: 0,
            standing: AccountStandings::of(Vec::new()),
        }
    }
}

/// Balances and standing as of one moment; nothing where nobody has spoken of the account. No transaction is opened.
///
/// # Errors
/// Those of the database.
pub async fn standing(pool: &Pool, id: &AccountId) -> Result<Option<StandingView>, Error> {
    let mut connection = pool.acquire().await.doing("taking a connection")?;
    standing_of(&mut connection, id).await
}

pub(super) async fn standing_of(
    connection: &mut PgConnection,
    id: &AccountId,
) -> Result<Option<StandingView>, Error> {
    let row = sqlx::query_file!("src/read/standing.sql", id.as_str())
        .fetch_optional(connection)
        .await
        .doing("reading an account")?;
    Ok(row.map(|row| StandingView {
        account: id.clone(),
        known: true,
        available: Credits::new(row.available),
        held: Credits::new(row.held),
        debt: Credits::new(row.debt),
        sequence: row.sequence,
        standing: AccountStandings::of(row.restrictions.0),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What stands in rows, and what is told of it.
    #[test]
    fn an_account_is_restricted_while_any_cause_stands() {
        let check = |rows: serde_json::Value, expect: [AccountStanding; 3]| {
            let told = AccountStandings::of(serde_json::from_value(rows.clone()).unwrap());
            assert_eq!([told.access, told.checkout, told.balance], expect, "{rows}");
            let restrictions = serde_json::to_value(&told.restrictions).unwrap();
            for (told, row) in restrictions.as_array().unwrap().iter().zip(rows.as_array().unwrap()) {
                for field in ["kind", "cause", "case"] {
                    assert_eq!(told[field], row[field]);
                }
                assert_eq!(told.get("by"), row.get("by").filter(|by| !by.is_null()));
                assert_eq!(told["since"], "2026-11-20T10:00:00.25Z");
            }
        };
        let row = |kind: &str, cause: &str, case: Option<&str>, by: Option<&str>| json!({ "kind": kind, "cause": cause, "case": case, "by": by, "since": "2026-11-20T12:00:00.25+02:00" });
        let (allowed, restricted) = (AccountStanding::Allowed, AccountStanding::Restricted);
        let by_case = |kind| row(kind, "case", Some("stripe:dp_1"), None);
        check(json!([]), [allowed; 3]);
        check(json!([row("checkout", "risk_rule", None, None)]), [allowed, restricted, allowed]);
        check(json!([row("balance", "operator", None, Some("ana"))]), [allowed, allowed, restricted]);
        check(
            json!([by_case("access"), by_case("checkout"), row("access", "operator", None, Some("ana"))]),
            [restricted, restricted, allowed],
        );
    }
}
