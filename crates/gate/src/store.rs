//! The gate's SQL: the inbox, and raw bodies apart from it.

use crate::Candidate;
use db::{Doing, Error, PgConnection, Work};
use domain::Cause;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// What the inbox holds of an identity that came again.
pub(crate) struct Admitted {
    pub hash: Vec<u8>,
    pub fact: String,
    /// Absent once its retention is over or it was erased.
    pub raw: Option<RawBody>,
}

/// A delivery's body as it came.
pub struct RawBody {
    pub body: Vec<u8>,
    pub received_at: OffsetDateTime,
}

/// Inserts candidates, sorted and without repeats among themselves; returns the identities that were new.
pub(crate) async fn insert(work: &mut Work, candidates: &[&Candidate]) -> Result<BTreeSet<Cause>, Error> {
    let now = work.now;
    let sources: Vec<&str> = candidates.iter().map(|c| c.envelope.cause.source.as_str()).collect();
    let ids: Vec<&str> = candidates.iter().map(|c| c.envelope.cause.id.as_str()).collect();
    let kinds: Vec<&str> = candidates.iter().map(|c| c.envelope.fact.kind().as_str()).collect();
    let hashes: Vec<&[u8]> = candidates.iter().map(|c| c.hash.as_slice()).collect();
    let facts: Vec<&str> = candidates.iter().map(|c| c.canonical.as_str()).collect();
    let times: Vec<OffsetDateTime> = candidates.iter().map(|c| c.envelope.time).collect();
    let fresh = sqlx::query!(
        "insert into inbox (source, id, kind, hash, fact, time, admitted_at)
         select source, id, kind, hash, fact, time, $7
         from unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::timestamptz[])
           as c (source, id, kind, hash, fact, time)
         on conflict do nothing
         returning source, id",
        &sources as _,
        &ids as _,
        &kinds as _,
        &hashes as _,
        &facts as _,
        &times,
        now,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("admitting facts")?;
    let fresh: BTreeSet<Cause> =
        fresh.into_iter().map(|row| Cause { source: row.source, id: row.id }).collect();
    let admitted: Vec<&Candidate> =
        candidates.iter().copied().filter(|c| fresh.contains(&c.envelope.cause)).collect();
    keep_raw(work, &admitted).await?;
    Ok(fresh)
}

async fn keep_raw(work: &mut Work, admitted: &[&Candidate]) -> Result<(), Error> {
    let now = work.now;
    let with_raw: Vec<(&Cause, &[u8], OffsetDateTime)> = admitted
        .iter()
        .filter_map(|c| {
            let raw = c.envelope.raw.as_ref()?;
            Some((&c.envelope.cause, raw.body.as_slice(), c.envelope.received_at.unwrap_or(now)))
        })
        .collect();
    if with_raw.is_empty() {
        return Ok(());
    }
    let sources: Vec<&str> = with_raw.iter().map(|(cause, ..)| cause.source.as_str()).collect();
    let ids: Vec<&str> = with_raw.iter().map(|(cause, ..)| cause.id.as_str()).collect();
    let bodies: Vec<&[u8]> = with_raw.iter().map(|(_, body, _)| *body).collect();
    let times: Vec<OffsetDateTime> = with_raw.iter().map(|(.., at)| *at).collect();
    sqlx::query!(
        "insert into raw_deliveries (source, id, body, received_at)
         select * from unnest($1::text[], $2::text[], $3::bytea[], $4::timestamptz[])
         on conflict do nothing",
        &sources as _,
        &ids as _,
        &bodies as _,
        &times,
    )
    .execute(work.connection().await?)
    .await
    .doing("keeping raw bodies")?;
    Ok(())
}

/// What was admitted under identities that came again; locked, so that whoever counts them does so in one order.
pub(crate) async fn admitted(
    work: &mut Work,
    repeats: &[&Cause],
) -> Result<BTreeMap<Cause, Admitted>, Error> {
    if repeats.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sources: Vec<&str> = repeats.iter().map(|cause| cause.source.as_str()).collect();
    let ids: Vec<&str> = repeats.iter().map(|cause| cause.id.as_str()).collect();
    let rows = sqlx::query!(
        r#"select i.source, i.id, i.hash, i.fact, raw.body as "body?", raw.received_at as "received_at?"
           from inbox i left join raw_deliveries raw on raw.source = i.source and raw.id = i.id
           where (i.source, i.id) in (select * from unnest($1::text[], $2::text[]))
           order by i.source, i.id
           for update of i"#,
        &sources as _,
        &ids as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("reading what was admitted")?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let raw = row.body.zip(row.received_at).map(|(body, received_at)| RawBody { body, received_at });
            (Cause { source: row.source, id: row.id }, Admitted { hash: row.hash, fact: row.fact, raw })
        })
        .collect())
}

/// Counts those that said what was admitted, of identities that [`admitted`] has locked.
pub(crate) async fn count_repeats(work: &mut Work, repeats: &[&Cause]) -> Result<(), Error> {
    if repeats.is_empty() {
        return Ok(());
    }
    let mut counts: BTreeMap<&Cause, i32> = BTreeMap::new();
    for cause in repeats {
        *counts.entry(cause).or_default() += 1;
    }
    let sources: Vec<&str> = counts.keys().map(|cause| cause.source.as_str()).collect();
    let ids: Vec<&str> = counts.keys().map(|cause| cause.id.as_str()).collect();
    let counts: Vec<i32> = counts.values().copied().collect();
    sqlx::query!(
        "update inbox i set repeats = i.repeats + r.count
         from unnest($1::text[], $2::text[], $3::int[]) as r (source, id, count)
         where i.source = r.source and i.id = r.id",
        &sources as _,
        &ids as _,
        &counts,
    )
    .execute(work.connection().await?)
    .await
    .doing("counting repeats")?;
    Ok(())
}

/// Deletes raw bodies received before `before`, up to `limit` of them; returns how many.
pub async fn purge(connection: &mut PgConnection, before: OffsetDateTime, limit: i64) -> Result<u64, Error> {
    let deleted = sqlx::query!(
        "delete from raw_deliveries where (source, id) in
           (select source, id from raw_deliveries where received_at < $1 order by received_at limit $2)",
        before,
        limit,
    )
    .execute(connection)
    .await
    .doing("purging raw bodies")?;
    Ok(deleted.rows_affected())
}

/// Erases one delivery's raw body; its fact and everything proved by it stay. Tells whether there was one.
pub async fn erase(connection: &mut PgConnection, cause: &Cause) -> Result<bool, Error> {
    let deleted =
        sqlx::query!("delete from raw_deliveries where source = $1 and id = $2", cause.source, cause.id)
            .execute(connection)
            .await
            .doing("erasing a raw body")?;
    Ok(deleted.rows_affected() > 0)
}

pub async fn raw_body(connection: &mut PgConnection, cause: &Cause) -> Result<Option<RawBody>, Error> {
    sqlx::query_as!(
        RawBody,
        "select body, received_at from raw_deliveries where source = $1 and id = $2",
        cause.source,
        cause.id,
    )
    .fetch_optional(connection)
    .await
    .doing("reading a raw body")
}
