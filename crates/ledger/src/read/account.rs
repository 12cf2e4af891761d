//! An account: its balances, standing, lots and payments, now or at a moment in the past.

use super::lot::{LotRow, LotView, lots_as_of, lots_of_account};
use super::payment::{PaymentLine, payments_of_account};
use super::snapshot;
use super::standing::{AccountStandings, StandingView, standing_of};
use super::statement::last_number;
use db::{Doing, Error, Pool};
use domain::{AccountId, Credits, CustomerId};
use serde::Serialize;
use time::OffsetDateTime;

/// An account may have more payments than anybody reads: the newest come first.
const PAYMENTS_MAX: i64 = 200;

/// `bursar account show --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccountView {
    pub account: AccountId,
    /// Whether anybody has spoken of it.
    pub known: bool,
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub as_of: Option<OffsetDateTime>,
    pub available: Credits,
    pub held: Credits,
    pub debt: Credits,
    pub sequence: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<AccountStandings>,
    pub lots: Vec<LotView>,
    pub lots_total: i64,
    /// What a payment looks like is known only for now: a view of the past leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payments: Option<Vec<PaymentLine>>,
}

impl AccountView {
    /// An account that nobody has spoken of.
    pub fn unknown(account: AccountId) -> Self {
        StandingView::unknown(account).into()
    }

    fn with_lots(mut self, rows: Vec<LotRow>) -> Self {
        self.lots_total = rows.first().map_or(0, |row| row.total);
        self.lots = rows.into_iter().map(LotView::from).collect();
        self
    }
}

/// Without lots and payments.
impl From<StandingView> for AccountView {
    fn from(head: StandingView) -> Self {
        Self {
            account: head.account,
            known: head.known,
            as_of: None,
            available: head.available,
            held: head.held,
            debt: head.debt,
            sequence: head.sequence,
            standing: Some(head.standing),
            lots: Vec::new(),
            lots_total: 0,
            payments: Some(Vec::new()),
        }
    }
}

/// The account as it is now; nothing where nobody has spoken of it.
///
/// # Errors
/// Those of the database.
pub async fn account(pool: &Pool, id: &AccountId) -> Result<Option<AccountView>, Error> {
    let connection = &mut *snapshot(pool).await?;
    let Some(head) = standing_of(connection, id).await? else { return Ok(None) };
    let payments = Some(payments_of_account(connection, id, PAYMENTS_MAX).await?);
    let view = AccountView { payments, ..AccountView::from(head) };
    Ok(Some(view.with_lots(lots_of_account(connection, id).await?)))
}

/// The account as it was at a moment, computed from its journal; nothing where nobody has spoken of it until today.
///
/// # Errors
/// Those of the database.
pub async fn account_as_of(
    pool: &Pool,
    id: &AccountId,
    moment: OffsetDateTime,
) -> Result<Option<AccountView>, Error> {
    let connection = &mut *snapshot(pool).await?;
    let last = last_number(connection, id, moment).await?;
    let row = sqlx::query!(
        r#"select coalesce((select sum(amount) from entries e where e.account = a.account and number <= $2
                            and book = 'available'), 0) as "available!",
                  coalesce((select sum(amount) from entries e where e.account = a.account and number <= $2
                            and book = 'held'), 0) as "held!",
                  coalesce((select sum(amount) from entries e where e.account = a.account and number <= $2
                            and book = 'debt'), 0) as "debt!",
                  coalesce((select max(e.sequence) from events e where e.account = a.account and e.time <= $3), 0)
                    as "sequence!"
           from accounts a where a.account = $1"#,
        id.as_str(),
        last,
        moment,
    )
    .fetch_optional(&mut *connection)
    .await
    .doing("computing an account's balances")?;
    let Some(row) = row else { return Ok(None) };
    let view = AccountView {
        known: true,
        as_of: Some(moment),
        available: Credits::new(row.available),
        held: Credits::new(row.held),
        debt: Credits::new(row.debt),
        sequence: row.sequence,
        standing: None,
        payments: None,
        ..AccountView::unknown(id.clone())
    };
    Ok(Some(view.with_lots(lots_as_of(connection, id, last).await?)))
}

/// The accounts that a customer, or whoever has an e-mail address, is linked to: by itself or by its address.
///
/// # Errors
/// Those of the database, and where a stored id is none.
pub async fn accounts_of(pool: &Pool, customer: &CustomerId) -> Result<Vec<AccountId>, Error> {
    let rows = sqlx::query_scalar!(
        r#"select distinct account as "account!" from customers
           where (customer = $1 or email = $1) and account is not null order by 1"#,
        customer.as_str(),
    )
    .fetch_all(pool)
    .await
    .doing("finding the accounts of a customer")?;
    rows.iter().map(|id| id.parse().map_err(|error| Error::stored("an account id", error))).collect()
}

/// A line of the list of accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountLine {
    pub account: String,
    pub available: Credits,
    pub held: Credits,
    pub debt: Credits,
    pub sequence: i64,
    pub transactions: i64,
}

/// Accounts by their id, beginning after `after`.
///
/// # Errors
/// Those of the database.
pub async fn accounts(pool: &Pool, limit: i64, after: Option<&AccountId>) -> Result<Vec<AccountLine>, Error> {
    let rows = sqlx::query!(
        "select account, available, held, debt, sequence, transactions from accounts
         where account > $1 order by account limit $2",
        after.map_or("", AccountId::as_str),
        limit,
    )
    .fetch_all(pool)
    .await
    .doing("listing accounts")?;
    Ok(rows
        .into_iter()
        .map(|row| AccountLine {
            account: row.account,
            available: Credits::new(row.available),
            held: Credits::new(row.held),
            debt: Credits::new(row.debt),
            sequence: row.sequence,
            transactions: row.transactions,
        })
        .collect())
}
