//! What a fact posted a moment ago, asked in the very transaction that posted it: for a plan, which is never committed.

use super::fact::{accounts_concerned, settlement};
use super::statement::{TransactionRow, TransactionView, with_entries};
use db::{Doing, Error, PgConnection};
use domain::event::Balances;
use domain::{Cause, Credits, Fact};
pub use jobs::{BalanceChange, Posted};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// A fact posts a handful of transactions; a link may deliver very many payments at once. Balances are worked out from all
/// of them, so that more than this is an error and not a shorter list.
const POSTED_MAX: i64 = 10_000;

/// What `cause` posted at the moment `at`; what it posted at other moments was posted earlier. It is looked for in the accounts
/// that the fact concerns and in `emitted`, those of the events that it caused.
///
/// # Errors
/// Those of the database, and where the fact posted more than [`POSTED_MAX`] transactions.
pub async fn posted(
    connection: &mut PgConnection,
    cause: &Cause,
    fact: &Fact,
    emitted: Vec<String>,
    at: OffsetDateTime,
) -> Result<Posted, Error> {
    let settled = settlement(connection, cause).await?;
    let payment = settled.as_ref().and_then(|settled| settled.payment.as_deref());
    let mut accounts = accounts_concerned(connection, fact, payment).await?;
    accounts.extend(emitted);
    accounts.sort();
    accounts.dedup();
    let mut transactions = last_transactions(connection, &accounts, cause, at).await?;
    let balances = changes(connection, &mut transactions).await?;
    Ok(Posted { transactions, balances })
}

/// They are the last ones of their accounts: what an account had before them is not read, however much it is.
async fn last_transactions(
    connection: &mut PgConnection,
    accounts: &[String],
    cause: &Cause,
    at: OffsetDateTime,
) -> Result<Vec<TransactionView>, Error> {
    let rows = sqlx::query_as!(
        TransactionRow,
        r#"select t.account as "account!", t.number as "number!", t.at as "at!", t.kind as "kind!",
                  t.cause_source as "cause_source!", t.cause_id as "cause_id!", t.payment
           from unnest($1::text[]) as a (account)
           cross join lateral (
               select coalesce((select b.number from transactions b where b.account = a.account and b.at <> $2
                                order by b.number desc limit 1), 0) as number) earlier
           join transactions t on t.account = a.account and t.number > earlier.number
           where t.cause_source = $3 and t.cause_id = $4
           order by t.account, t.number limit $5"#,
        accounts,
        at,
        cause.source,
        cause.id,
        POSTED_MAX + 1,
    )
    .fetch_all(&mut *connection)
    .await
    .doing("reading what a fact posted")?;
    if rows.len() as i64 > POSTED_MAX {
        let why = format!("expected at most {POSTED_MAX} transactions of one fact, got more from {cause}");
        return Err(Error::stored("the journal", why));
    }
    with_entries(connection, rows).await
}

/// The accounts' rows have the balances after, and the entries how they came about; each transaction gets the balances it led to.
async fn changes(
    connection: &mut PgConnection,
    transactions: &mut [TransactionView],
) -> Result<Vec<BalanceChange>, Error> {
    let accounts: Vec<&str> = transactions.iter().map(|transaction| transaction.account.as_str()).collect();
    let after = balances(connection, &accounts).await?;
    let mut changes = Vec::new();
    for own in transactions.chunk_by_mut(|a, b| a.account == b.account) {
        let account = own[0].account.clone();
        let Some(after) = after.get(&account).copied() else { continue };
        let before = before(own, after);
        let mut standing = before;
        for transaction in own {
            standing = transaction.after(standing);
            transaction.after = Some(standing);
        }
        changes.push(BalanceChange { account, before, after });
    }
    Ok(changes)
}

fn before(transactions: &[TransactionView], after: Balances) -> Balances {
    let change = |book| -> Credits { transactions.iter().map(|transaction| transaction.change(book)).sum() };
    Balances {
        available: after.available - change("available"),
        held: after.held - change("held"),
        debt: after.debt - change("debt"),
    }
}

async fn balances(
    connection: &mut PgConnection,
    accounts: &[&str],
) -> Result<BTreeMap<String, Balances>, Error> {
    let rows = sqlx::query!(
        "select account, available, held, debt from accounts where account = any($1::text[])",
        accounts as _,
    )
    .fetch_all(connection)
    .await
    .doing("reading balances")?;
    let balances = |available, held, debt| Balances {
        available: Credits::new(available),
        held: Credits::new(held),
        debt: Credits::new(debt),
    };
    Ok(rows.into_iter().map(|row| (row.account, balances(row.available, row.held, row.debt))).collect())
}
