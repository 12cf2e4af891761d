//! Accounts: balances, and the heads of their two chains.

use super::{BatchState, parse_id};
use db::{Doing, Error, Work};
use domain::event::{Balances, SOURCE_LEDGER};
use domain::journal::Hash;
use domain::ledger::{Account, Books, Lots};
use domain::{AccountId, Credits, Envelope};
use facts::emit::{AccountHead, Heads};
use rust_decimal::Decimal;
use std::collections::BTreeSet;

/// Makes the accounts that nobody has spoken of before, for a row that does not exist locks nothing; then locks every
/// account that may change. In this order: who makes a row while it holds others may wait for one who waits for those.
pub(super) async fn lock(work: &mut Work, books: &mut Books, envelopes: &[Envelope]) -> Result<Heads, Error> {
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
    let mut heads = Vec::new();
    if wanted.is_empty() {
        return Ok(Heads::held(SOURCE_LEDGER, heads));
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
        let events_head = hash(row.events_head)?;
        let account = Account {
            id: id.clone(),
            balances: Balances {
                available: Credits::new(row.available),
                held: Credits::new(row.held),
                debt: Credits::new(row.debt),
            },
            transactions: row.transactions as u64,
            head: hash(row.head)?,
            lots: Lots::default(),
        };
        heads.push((id.clone(), AccountHead { sequence: row.sequence, hash: events_head }));
        books.accounts.insert(id, account);
    }
    Ok(Heads::held(SOURCE_LEDGER, heads))
}

fn hash(stored: Vec<u8>) -> Result<Hash, Error> {
    stored.try_into().map_err(|_| Error::stored("a hash", "expected 32 bytes"))
}

pub(super) async fn save(work: &mut Work, batch: &BatchState) -> Result<(), Error> {
    let moved: BTreeSet<&AccountId> = batch.journal.iter().map(|transaction| &transaction.account).collect();
    let told: BTreeSet<&AccountId> = batch.heads.moved().iter().collect();
    let mut changed: Vec<(&Account, &AccountHead)> = Vec::new();
    for id in moved.union(&told) {
        let Some(head) = batch.heads.get(id) else {
            return Err(Error::stored("an account", format!("{id} was to be written without its lock")));
        };
        changed.extend(batch.books.accounts.get(*id).map(|account| (account, head)));
    }
    if changed.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = changed.iter().map(|(a, _)| a.id.as_str()).collect();
    let available: Vec<Decimal> = changed.iter().map(|(a, _)| a.balances.available.decimal()).collect();
    let held: Vec<Decimal> = changed.iter().map(|(a, _)| a.balances.held.decimal()).collect();
    let debt: Vec<Decimal> = changed.iter().map(|(a, _)| a.balances.debt.decimal()).collect();
    let sequences: Vec<i64> = changed.iter().map(|(_, head)| head.sequence).collect();
    let transactions: Vec<i64> = changed.iter().map(|(a, _)| a.transactions as i64).collect();
    let heads: Vec<&[u8]> = changed.iter().map(|(a, _)| a.head.as_slice()).collect();
    let events_heads: Vec<&[u8]> = changed.iter().map(|(_, head)| head.hash.as_slice()).collect();
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
