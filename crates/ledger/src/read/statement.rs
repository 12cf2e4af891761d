//! The journal as people read it: an account's statement, and what was posted for a payment.

use super::snapshot;
use db::{Doing, Error, PgConnection, Pool};
use domain::event::Balances;
use domain::{AccountId, Cause, Credits};
pub use jobs::{EntryView, TransactionView};
use rust_decimal::Decimal;
use serde::Serialize;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// Which part of an account's journal to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementRange {
    /// Nothing after this moment.
    pub as_of: Option<OffsetDateTime>,
    /// The first transaction's number; else the last `limit` transactions are read.
    pub from: Option<i64>,
    pub limit: i64,
}

/// Consecutive transactions of an account, with the balances before the first and after each.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Statement {
    pub account: AccountId,
    /// Whether anybody has spoken of it.
    pub known: bool,
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub as_of: Option<OffsetDateTime>,
    pub opening: Balances,
    pub transactions: Vec<TransactionView>,
    pub closing: Balances,
    /// Number of the account's last transaction, at the moment asked for.
    pub last: i64,
}

/// The balances are sums of the journal's entries, not what the account's row says.
///
/// # Errors
/// Those of the database.
pub async fn statement(pool: &Pool, id: &AccountId, range: &StatementRange) -> Result<Statement, Error> {
    let connection = &mut *snapshot(pool).await?;
    let last = last_number(connection, id, range.as_of.unwrap_or(END_OF_TIME)).await?;
    let from = range.from.unwrap_or(last - range.limit + 1).max(1);
    let opening = balances_before(connection, id, from).await?;
    let mut transactions = transactions(connection, id, from, last, range.limit).await?;
    let mut closing = opening;
    for transaction in &mut transactions {
        closing = transaction.after(closing);
        transaction.after = Some(closing);
    }
    let known = is_known(connection, id).await?;
    Ok(Statement { account: id.clone(), known, as_of: range.as_of, opening, transactions, closing, last })
}

/// Later than any transaction.
const END_OF_TIME: OffsetDateTime = time::macros::datetime!(9999-12-31 00:00:00 UTC);

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

async fn is_known(connection: &mut PgConnection, id: &AccountId) -> Result<bool, Error> {
    sqlx::query_scalar!(r#"select exists (select from accounts where account = $1) as "known!""#, id.as_str())
        .fetch_one(connection)
        .await
        .doing("asking whether an account is known")
}

async fn balances_before(
    connection: &mut PgConnection,
    id: &AccountId,
    number: i64,
) -> Result<Balances, Error> {
    let row = sqlx::query!(
        r#"select coalesce(sum(amount) filter (where book = 'available'), 0) as "available!",
                  coalesce(sum(amount) filter (where book = 'held'), 0) as "held!",
                  coalesce(sum(amount) filter (where book = 'debt'), 0) as "debt!"
           from entries where account = $1 and number < $2"#,
        id.as_str(),
        number,
    )
    .fetch_one(connection)
    .await
    .doing("computing an opening balance")?;
    Ok(Balances {
        available: Credits::new(row.available),
        held: Credits::new(row.held),
        debt: Credits::new(row.debt),
    })
}

async fn transactions(
    connection: &mut PgConnection,
    id: &AccountId,
    from: i64,
    last: i64,
    limit: i64,
) -> Result<Vec<TransactionView>, Error> {
    let rows = sqlx::query_as!(
        TransactionRow,
        "select account, number, at, kind, cause_source, cause_id, payment from transactions
         where account = $1 and number between $2 and $3 order by number limit $4",
        id.as_str(),
        from,
        last,
        limit,
    )
    .fetch_all(&mut *connection)
    .await
    .doing("reading an account's transactions")?;
    with_entries(connection, rows).await
}

/// What was posted for a payment under any of its names, oldest first.
pub(super) async fn transactions_of_payment(
    connection: &mut PgConnection,
    names: &[String],
    limit: i64,
) -> Result<Vec<TransactionView>, Error> {
    let rows = sqlx::query_as!(
        TransactionRow,
        "select account, number, at, kind, cause_source, cause_id, payment from transactions
         where payment = any($1) order by at, account, number limit $2",
        names,
        limit,
    )
    .fetch_all(&mut *connection)
    .await
    .doing("reading a payment's transactions")?;
    with_entries(connection, rows).await
}

/// What was posted because of a fact, in the accounts that it may concern.
pub(super) async fn transactions_of_cause(
    connection: &mut PgConnection,
    accounts: &[String],
    cause: &Cause,
    limit: i64,
) -> Result<Vec<TransactionView>, Error> {
    let rows = sqlx::query_as!(
        TransactionRow,
        "select account, number, at, kind, cause_source, cause_id, payment from transactions
         where account = any($1) and cause_source = $2 and cause_id = $3 order by account, number limit $4",
        accounts,
        cause.source,
        cause.id,
        limit,
    )
    .fetch_all(&mut *connection)
    .await
    .doing("reading the transactions of a fact")?;
    with_entries(connection, rows).await
}

pub(super) struct TransactionRow {
    pub account: String,
    pub number: i64,
    pub at: OffsetDateTime,
    pub kind: String,
    pub cause_source: String,
    pub cause_id: String,
    pub payment: Option<String>,
}

impl TransactionRow {
    fn view(self, entries: Vec<EntryView>) -> TransactionView {
        TransactionView {
            account: self.account,
            number: self.number,
            at: self.at,
            kind: self.kind,
            cause: format!("{}/{}", self.cause_source, self.cause_id),
            payment: self.payment,
            entries,
            after: None,
        }
    }
}

pub(super) async fn with_entries(
    connection: &mut PgConnection,
    rows: Vec<TransactionRow>,
) -> Result<Vec<TransactionView>, Error> {
    let mut entries = entries(connection, &rows).await?;
    let of = |row: &TransactionRow| (row.account.clone(), row.number);
    Ok(rows
        .into_iter()
        .map(|row| {
            let own = entries.remove(&of(&row)).unwrap_or_default();
            row.view(own)
        })
        .collect())
}

type EntriesByTransaction = BTreeMap<(String, i64), Vec<EntryView>>;

async fn entries(
    connection: &mut PgConnection,
    of: &[TransactionRow],
) -> Result<EntriesByTransaction, Error> {
    let accounts: Vec<&str> = of.iter().map(|row| row.account.as_str()).collect();
    let numbers: Vec<i64> = of.iter().map(|row| row.number).collect();
    let rows: Vec<(String, i64, String, Option<String>, Decimal)> = sqlx::query!(
        r#"select e.account as "account!", e.number as "number!", e.book as "book!", e.lot, e.amount as "amount!"
           from unnest($1::text[], $2::bigint[]) as t (account, number)
           join entries e on e.account = t.account and e.number = t.number
           order by e.account, e.number, e.line"#,
        &accounts as _,
        &numbers,
    )
    .map(|row| (row.account, row.number, row.book, row.lot, row.amount))
    .fetch_all(connection)
    .await
    .doing("reading entries")?;
    let mut entries = EntriesByTransaction::new();
    for (account, number, book, lot, amount) in rows {
        let entry = EntryView { book, lot, amount: Credits::new(amount) };
        entries.entry((account, number)).or_default().push(entry);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_moves_the_balances_by_its_entries() {
        let entry = |book: &str, amount| EntryView {
            book: book.to_owned(),
            lot: None,
            amount: Credits::whole(amount),
        };
        let transaction = TransactionView {
            account: "acct_1".to_owned(),
            number: 2,
            at: END_OF_TIME,
            kind: "usage".to_owned(),
            cause: "gateway/use_1".to_owned(),
            payment: None,
            entries: vec![
                entry("available", -7),
                entry("consumed", 7),
                entry("available", -3),
                entry("consumed", 3),
                entry("debt", 2),
                entry("overdrawn", -2),
            ],
            after: None,
        };
        let before = Balances { available: Credits::whole(10), held: Credits::whole(5), debt: Credits::ZERO };
        let after = Balances { available: Credits::ZERO, held: Credits::whole(5), debt: Credits::whole(2) };
        assert_eq!(transaction.after(before), after);
    }
}
