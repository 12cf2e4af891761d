//! The heads of accounts' chains of events, in the accounts' rows.

use super::AccountHead;
use db::{Doing, Error, Work};
use domain::AccountId;
use std::collections::BTreeSet;

/// Inserts the accounts that have no row yet, since a missing row cannot be locked; then locks all of them.
pub(super) async fn lock(
    work: &mut Work,
    accounts: &BTreeSet<AccountId>,
) -> Result<Vec<(AccountId, AccountHead)>, Error> {
    if accounts.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
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
        "select account, sequence, events_head from accounts where account = any($1::text[]) order by account for update",
        &names as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("locking accounts")?;
    rows.into_iter()
        .map(|row| {
            let account = row.account.parse().map_err(|error| Error::stored("an account id", error))?;
            let hash = row.events_head.try_into();
            let hash = hash.map_err(|_| Error::stored("a hash", "expected 32 bytes"))?;
            Ok((account, AccountHead { sequence: row.sequence, hash }))
        })
        .collect()
}

pub(super) async fn save(work: &mut Work, moved: &[(&AccountId, &AccountHead)]) -> Result<(), Error> {
    if moved.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = moved.iter().map(|(account, _)| account.as_str()).collect();
    let sequences: Vec<i64> = moved.iter().map(|(_, head)| head.sequence).collect();
    let hashes: Vec<&[u8]> = moved.iter().map(|(_, head)| head.hash.as_slice()).collect();
    sqlx::query!(
        "update accounts a set sequence = n.sequence, events_head = n.events_head
         from unnest($1::text[], $2::bigint[], $3::bytea[]) as n (account, sequence, events_head)
         where a.account = n.account",
        &names as _,
        &sequences,
        &hashes as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("writing the heads of accounts' events")?;
    Ok(())
}
