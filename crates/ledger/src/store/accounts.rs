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
    let wanted = wanted(books, envelopes);
    let mut heads = Vec::new();
    if wanted.is_empty() {
        return Ok(Heads::held(SOURCE_LEDGER, heads));
    }
    let names: Vec<&str> = wanted.iter().map(AccountId::as_str).collect();
    open(work, &names).await?;
    let rows = sqlx::query_as!(
        AccountRow,
        "select account, available, held, debt, sequence, transactions, head, events_head
         from accounts where account = any($1::text[]) order by account for update",
        &names as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("locking accounts")?;
    for row in rows {
        let (account, head) = row.account()?;
        heads.push((account.id.clone(), head));
        books.accounts.insert(account.id.clone(), account);
    }
    Ok(Heads::held(SOURCE_LEDGER, heads))
}

/// Every account that may change: those that facts name, those of customers, and those that payments belong or may come to.
fn wanted(books: &Books, envelopes: &[Envelope]) -> BTreeSet<AccountId> {
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
    wanted
}

async fn open(work: &mut Work, accounts: &[&str]) -> Result<(), Error> {
    sqlx::query!(
        "insert into accounts (account)
         select account from unnest($1::text[]) as n (account)
         where not exists (select from accounts a where a.account = n.account) order by account
         on conflict do nothing",
        accounts as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("opening accounts")?;
    Ok(())
}

struct AccountRow {
    account: String,
    available: Decimal,
    held: Decimal,
    debt: Decimal,
    sequence: i64,
    transactions: i64,
    head: Vec<u8>,
    events_head: Vec<u8>,
}

impl AccountRow {
    /// The account, without its lots, and the head of its chain of events.
    fn account(self) -> Result<(Account, AccountHead), Error> {
        let head = AccountHead { sequence: self.sequence, hash: hash(self.events_head)? };
        let account = Account {
            id: parse_id("an account id", &self.account)?,
            balances: Balances {
                available: Credits::new(self.available),
                held: Credits::new(self.held),
                debt: Credits::new(self.debt),
            },
            transactions: self.transactions as u64,
            head: hash(self.head)?,
            lots: Lots::default(),
        };
        Ok((account, head))
    }
}

fn hash(stored: Vec<u8>) -> Result<Hash, Error> {
    stored.try_into().map_err(|_| Error::stored("a hash", "expected 32 bytes"))
}

/// Writes the accounts that the batch posted to or emitted events of.
pub(super) async fn save(work: &mut Work, batch: &BatchState) -> Result<(), Error> {
    let changed = changed(batch)?;
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

/// The accounts that the batch changed; an error where one of them was not locked.
fn changed(batch: &BatchState) -> Result<Vec<(&Account, &AccountHead)>, Error> {
    let posted: BTreeSet<&AccountId> = batch.journal.iter().map(|transaction| &transaction.account).collect();
    let emitted: BTreeSet<&AccountId> = batch.heads.moved().iter().collect();
    let mut changed: Vec<(&Account, &AccountHead)> = Vec::new();
    for id in posted.union(&emitted) {
        let Some(head) = batch.heads.get(id) else {
            return Err(Error::stored("an account", format!("{id} was to be written without its lock")));
        };
        changed.extend(batch.books.accounts.get(*id).map(|account| (account, head)));
    }
    Ok(changed)
}
