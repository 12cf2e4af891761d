//! An account: its balances, standing, lots and payments, now or at a moment in the past.

use super::payment::{PaymentLine, payments_of_account};
use super::snapshot;
use db::{Doing, Error, PgConnection, Pool};
use domain::{AccountId, Credits, CustomerId};
use rust_decimal::Decimal;
use serde::Serialize;
use time::OffsetDateTime;

/// An account may have more lots and payments than anybody reads: those with credits first, then the newest.
const LOTS_MAX: i64 = 200;
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
    pub standing: Option<Standings>,
    pub lots: Vec<LotView>,
    pub lots_total: i64,
    /// What a payment looks like is known only for now: a view of the past leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payments: Option<Vec<PaymentLine>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    Allowed,
    Restricted,
}

/// What gateways let the account do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standings {
    pub access: Standing,
    pub checkout: Standing,
    pub balance: Standing,
    pub restrictions: Vec<Restriction>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restriction {
    pub kind: String,
    pub cause: String,
    pub case: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

impl Standings {
    fn unrestricted() -> Self {
        let allowed = Standing::Allowed;
        Self { access: allowed, checkout: allowed, balance: allowed, restrictions: Vec::new() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LotView {
    pub lot: String,
    pub kind: String,
    pub payment: Option<String>,
    pub granted: Credits,
    pub remaining: Credits,
    pub held: Credits,
    pub consumed: Credits,
    pub reversed: Credits,
    pub expired: Credits,
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
}

/// A row of the statements that read lots; `total` counts those beyond the limit too.
pub(super) struct LotRow {
    pub lot: String,
    pub kind: String,
    pub payment: Option<String>,
    pub granted: Decimal,
    pub remaining: Decimal,
    pub held: Decimal,
    pub consumed: Decimal,
    pub reversed: Decimal,
    pub expired: Decimal,
    pub since: OffsetDateTime,
    pub expires_at: Option<OffsetDateTime>,
    pub total: i64,
}

impl From<LotRow> for LotView {
    fn from(row: LotRow) -> Self {
        Self {
            lot: row.lot,
            kind: row.kind,
            payment: row.payment,
            granted: Credits::new(row.granted),
            remaining: Credits::new(row.remaining),
            held: Credits::new(row.held),
            consumed: Credits::new(row.consumed),
            reversed: Credits::new(row.reversed),
            expired: Credits::new(row.expired),
            since: row.since,
            expires_at: row.expires_at,
        }
    }
}

impl AccountView {
    /// An account that nobody has spoken of.
    pub fn unknown(account: AccountId) -> Self {
        Self {
            account,
            known: false,
            as_of: None,
            available: Credits::ZERO,
            held: Credits::ZERO,
            debt: Credits::ZERO,
            sequence: 0,
            standing: Some(Standings::unrestricted()),
            lots: Vec::new(),
            lots_total: 0,
            payments: Some(Vec::new()),
        }
    }

    fn with_lots(mut self, rows: Vec<LotRow>) -> Self {
        self.lots_total = rows.first().map_or(0, |row| row.total);
        self.lots = rows.into_iter().map(LotView::from).collect();
        self
    }
}

/// The account as it is now; nothing where nobody has spoken of it.
pub async fn account(pool: &Pool, id: &AccountId) -> Result<Option<AccountView>, Error> {
    let connection = &mut *snapshot(pool).await?;
    let row =
        sqlx::query!("select available, held, debt, sequence from accounts where account = $1", id.as_str(),)
            .fetch_optional(&mut *connection)
            .await
            .doing("reading an account")?;
    let Some(row) = row else { return Ok(None) };
    let view = AccountView {
        known: true,
        available: Credits::new(row.available),
        held: Credits::new(row.held),
        debt: Credits::new(row.debt),
        sequence: row.sequence,
        payments: Some(payments_of_account(connection, id, PAYMENTS_MAX).await?),
        ..AccountView::unknown(id.clone())
    };
    Ok(Some(view.with_lots(lots(connection, id).await?)))
}

async fn lots(connection: &mut PgConnection, id: &AccountId) -> Result<Vec<LotRow>, Error> {
    sqlx::query_as!(
        LotRow,
        r#"select lot, kind, payment, granted, remaining, held, consumed, reversed, expired, since, expires_at,
                  count(*) over () as "total!"
           from lots where account = $1
           order by (remaining + held > 0) desc, since desc, lot limit $2"#,
        id.as_str(),
        LOTS_MAX,
    )
    .fetch_all(connection)
    .await
    .doing("reading an account's lots")
}

/// The account as it was at a moment, computed from its journal; nothing where nobody has spoken of it until today.
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

async fn lots_as_of(connection: &mut PgConnection, id: &AccountId, last: i64) -> Result<Vec<LotRow>, Error> {
    sqlx::query_as!(
        LotRow,
        r#"select lot as "lot!", kind as "kind!", payment, coalesce(-issued, 0) as "granted!",
                  coalesce(available, 0) as "remaining!", coalesce(e.held, 0) as "held!",
                  coalesce(e.consumed, 0) as "consumed!", coalesce(e.reversed, 0) as "reversed!",
                  coalesce(e.expired, 0) as "expired!", since as "since!", expires_at, count(*) over () as "total!"
           from (select lot,
                        sum(amount) filter (where book = 'issued') as issued,
                        sum(amount) filter (where book = 'available') as available,
                        sum(amount) filter (where book = 'held') as held,
                        sum(amount) filter (where book = 'consumed') as consumed,
                        sum(amount) filter (where book = 'reversed') as reversed,
                        sum(amount) filter (where book = 'expired') as expired
                 from entries where account = $1 and number <= $2 and lot is not null group by lot) e
           join lots using (lot)
           order by (coalesce(available, 0) + coalesce(e.held, 0) > 0) desc, since desc, lot limit $3"#,
        id.as_str(),
        last,
        LOTS_MAX,
    )
    .fetch_all(connection)
    .await
    .doing("computing an account's lots")
}

/// The number of the account's last transaction at a moment. Clocks of several workers may differ by a little, and a
/// transaction by all before it: the journal up to this number is a state that the account was in.
pub(super) async fn last_number(
    connection: &mut PgConnection,
    id: &AccountId,
    moment: OffsetDateTime,
) -> Result<i64, Error> {
    let last = sqlx::query_scalar!(
        "select number from transactions where account = $1 and at <= $2 order by number desc limit 1",
        id.as_str(),
        moment,
    )
    .fetch_optional(connection)
    .await
    .doing("finding an account's last transaction")?;
    Ok(last.unwrap_or(0))
}

/// The accounts that a customer, or whoever has an e-mail address, is linked to: by itself or by its address.
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
