//! The journal. It only grows.

use super::BatchState;
use db::{Doing, Error, Work};
use domain::PaymentId;
use domain::journal::Transaction;
use time::OffsetDateTime;

/// Writes the transactions of the batch.
pub(super) async fn save(work: &mut Work, batch: &BatchState) -> Result<(), Error> {
    if batch.journal.is_empty() {
        return Ok(());
    }
    let journal = &batch.journal;
    let accounts: Vec<&str> = journal.iter().map(|t| t.account.as_str()).collect();
    let numbers: Vec<i64> = journal.iter().map(|t| t.number as i64).collect();
    let kinds: Vec<&str> = journal.iter().map(|t| t.kind.as_str()).collect();
    let sources: Vec<&str> = journal.iter().map(|t| t.cause.source.as_str()).collect();
    let causes: Vec<&str> = journal.iter().map(|t| t.cause.id.as_str()).collect();
    let payments: Vec<Option<&str>> =
        journal.iter().map(|t| t.payment.as_ref().map(PaymentId::as_str)).collect();
    let times: Vec<OffsetDateTime> = journal.iter().map(|t| t.at).collect();
    let hashes: Vec<&[u8]> = journal.iter().map(|t| t.hash.as_slice()).collect();
    let entries: Vec<String> = journal.iter().map(Transaction::entries_to_json).collect();
    sqlx::query!(
        "insert into transactions (account, number, kind, cause_source, cause_id, payment, at, hash, entries)
         select account, number, kind, cause_source, cause_id, payment, at, hash, entries::json
         from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
                     $8::bytea[], $9::text[])
           as t (account, number, kind, cause_source, cause_id, payment, at, hash, entries)",
        &accounts as _,
        &numbers,
        &kinds as _,
        &sources as _,
        &causes as _,
        &payments as _,
        &times,
        &hashes as _,
        &entries,
    )
    .execute(work.connection().await?)
    .await
    .doing("writing transactions")?;
    Ok(())
}
