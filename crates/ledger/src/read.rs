//! What the ledger shows: accounts, statements and payments as people and gateways read them.
//!
//! Nothing here decides or changes anything. Amounts are decimal strings, times are RFC 3339 in UTC, lists have a limit.
//! What takes several statements is read from one [`snapshot`], so that its parts belong together.

mod account;
mod acts;
mod expiry;
mod fact;
mod lot;
mod payment;
mod posted;
mod restatable;
mod roll_forward;
mod standing;
mod statement;
mod texts;
mod undelivered;

pub use account::{AccountLine, AccountView, account, account_as_of, accounts, accounts_of};
pub use acts::{ActFilter, ActLine, OPERATOR, acts};
pub use expiry::{SOURCE as EXPIRY_SOURCE, due};
pub use fact::{AdmittedFact, FactSettlement, FactView, admitted, fact};
pub use lot::LotView;
pub use payment::{
    FactLine, PaymentFilter, PaymentLine, PaymentView, WhyUndelivered, payment, payments, why_undelivered,
};
pub use posted::{BalanceChange, Posted, posted};
pub use restatable::{Restatable, RestatableCursor, Restated, restatable};
pub use roll_forward::{CREDITS, Month, RollForwardLine, roll_forward};
pub use standing::{
    AccountStanding, AccountStandings, Restriction, RestrictionCause, RestrictionKind, StandingView, standing,
};
pub use statement::{EntryView, Statement, StatementRange, TransactionView, statement};
pub use texts::texts_of;
pub use undelivered::{UndeliveredPayment, delivered, undelivered};

use db::{Doing, Error, PgConnection, Pool};
use domain::Money;
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::{Postgres, Transaction};
use time::OffsetDateTime;

/// A transaction that sees one moment of the database, changes nothing and holds nobody up: it can run beside a live
/// fleet. Dropping it ends it.
///
/// # Errors
/// Those of the database.
pub async fn snapshot(pool: &Pool) -> Result<Transaction<'static, Postgres>, Error> {
    pool.begin_with("begin isolation level repeatable read, read only").await.doing("beginning a snapshot")
}

/// What the ledger has open, for metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenPayments {
    pub undelivered: i64,
    #[serde(with = "time::serde::rfc3339::option")]
    pub undelivered_since: Option<OffsetDateTime>,
    pub shells: i64,
}

/// Cheap however many payments there are: an index holds the open ones alone.
///
/// # Errors
/// Those of the database.
pub async fn gauges(connection: &mut PgConnection) -> Result<OpenPayments, Error> {
    sqlx::query_as!(
        OpenPayments,
        r#"select count(*) filter (where state = 'undelivered') as "undelivered!",
                  min(created_at) filter (where state = 'undelivered') as undelivered_since,
                  count(*) filter (where state = 'shell') as "shells!"
           from payments where state in ('shell', 'undelivered')"#,
    )
    .fetch_one(connection)
    .await
    .doing("counting open payments")
}

/// With the currency's own number of places: `4.00` and not `4`; as it is stored where there is no currency.
fn money_text(amount: Decimal, currency: Option<&str>) -> String {
    currency
        .and_then(|code| domain::money::currency(code).ok())
        .and_then(|currency| Money::new(amount, currency).ok())
        .map_or_else(|| amount.normalize().to_string(), |money| money.display_amount())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_the_places_of_its_currency() {
        let check = |amount: &str, currency, expect: &str| {
            assert_eq!(money_text(amount.parse().unwrap(), currency), expect, "{amount} {currency:?}");
        };
        check("4", Some("USD"), "4.00");
        check("0", Some("USD"), "0.00");
        check("100.000", Some("JPY"), "100");
        check("1.2340", Some("BHD"), "1.234");
        check("0.50", None, "0.5");
    }
}
