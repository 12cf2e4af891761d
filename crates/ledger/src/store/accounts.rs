//! Accounts: balances, and the heads of their two chains.

use super::{BatchState, parse_id};
use db::{Doing, Error, Work};
use domain::event::Balances;
use domain::journal::Hash;
use domain::ledger::{Account, Books, Lots};
use domain::{AccountId, Credits, Envelope};
use rust_decimal::Decimal;
use std::collections::BTreeSet;

/// Makes the accounts that nobody has spoken of before, for a row that does not exist locks nothing; then locks every
/// account that may change. In this order: who makes a row while it holds others may wait for one who waits for those.
pub(super) async fn lock(work: &mut Work, books: &mut Books, envelopes: &[Envelope]) -> Result<(), Error> {
    let mut wanted: BTreeSet<AccountId> =
        envelopes.iter().filter_map(|envelope| envelope.fact.account().cloned()).collect();
    wanted.extend(books.customers.values().cloned());
    for payment in books.payments.values() {
        wanted.extend(payment.account.clone());
        let said = payment.record.descriptions.values().filter_map(|stated| stated.what.account.as_ref());
        wanted.extend(said.map(|link| link.account.clone()));
        let words = payment.record.assignments.values();
        wanted.extend(words.filter_map(|stated| stated.what.account.clone()));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = wanted.iter().map(AccountId::as_str).collect();
    sqlx::query!(
        "insert into accounts (account)
         select account from unnest($1::text[]) as n (account)
         where not exists (select from accounts a where a.account = n.account) order by account
         on conflict do nothing",
        &names as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("opening accounts")?;
    let rows = sqlx::query!(
        "select account, available, held, debt, sequence, transactions, head, events_head
         from accounts where account = any($1::text[]) order by account for update",
        &names as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("locking accounts")?;
    for row in rows {
        let id: AccountId = parse_id("an account id", &row.account)?;
        let account = Account {
            id: id.clone(),
            balances: Balances {
                available: Credits::new(row.available),
                held: Credits::new(row.held),
                debt: Credits::new(row.debt),
            },
            sequence: row.sequence as u64,
            transactions: row.transactions as u64,
            head: hash(row.head)?,
            events_head: hash(row.events_head)?,
            lots: Lots::default(),
        };
        books.accounts.insert(id, account);
    }
    Ok(())
}

fn hash(stored: Vec<u8>) -> Result<Hash, Error> {
    stored.try_into().map_err(|_| Error::stored("a hash", "expected 32 bytes"))
}

pub(super) async fn save(work: &mut Work, batch: &BatchState) -> Result<(), Error> {
    let moved: BTreeSet<&AccountId> = batch.journal.iter().map(|transaction| &transaction.account).collect();
    let told: BTreeSet<&AccountId> = batch
        .books
        .payments
        .values()
        .filter(|payment| payment.changed)
        .filter_map(|payment| payment.account.as_ref())
        .collect();
    let changed: Vec<&Account> = moved.union(&told).filter_map(|id| batch.books.accounts.get(*id)).collect();
    if changed.is_empty() {
        return Ok(());
    }
    if let Some(account) = changed.iter().find(|account| !batch.locked.contains(&account.id)) {
        return Err(Error::stored(
            "an account",
            format!("{} was to be written without its lock", account.id),
        ));
    }
    let ids: Vec<&str> = changed.iter().map(|a| a.id.as_str()).collect();
    let available: Vec<Decimal> = changed.iter().map(|a| a.balances.available.decimal()).collect();
    let held: Vec<Decimal> = changed.iter().map(|a| a.balances.held.decimal()).collect();
    let debt: Vec<Decimal> = changed.iter().map(|a| a.balances.debt.decimal()).collect();
    let sequences: Vec<i64> = changed.iter().map(|a| a.sequence as i64).collect();
    let transactions: Vec<i64> = changed.iter().map(|a| a.transactions as i64).collect();
    let heads: Vec<&[u8]> = changed.iter().map(|a| a.head.as_slice()).collect();
    let events_heads: Vec<&[u8]> = changed.iter().map(|a| a.events_head.as_slice()).collect();
    sqlx::query!(
        "update accounts a set available = n.available, held = n.held, debt = n.debt, sequence = n.sequence,
                transactions = n.transactions, head = n.head, events_head = n.events_head
         from unnest($1::text[], $2::numeric[], $3::numeric[], $4::numeric[], $5::bigint[], $6::bigint[], $7::bytea[],
                     $8::bytea[])
           as n (account, available, held, debt, sequence, transactions, head, events_head)
         where a.account = n.account",
        &ids as _,
        &available,
        &held,
        &debt,
        &sequences,
        &transactions,
        &heads as _,
        &events_heads as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("writing accounts")?;
    Ok(())
}
