//! SQL: deleting what was closed long ago.

use super::LetterRetention;
use crate::alerts::Alert;
use db::{Doing, Error, PgConnection, Pool};
use time::OffsetDateTime;

/// Deletes up to `limit` letters whose retention is over, and says so in the audit; returns how many. With them goes what was
/// kept of them elsewhere: their replays, their kinds, and alerts of either. One that went on as
/// another letter stays until that is gone too: the chain of what was tried is not cut. A fact that nothing more is to come of
/// is remembered, so that it is not missed when its letter is gone.
///
/// # Errors
/// Those of the database. What was deleted before one of them stays deleted.
pub async fn purge(
    pool: &Pool,
    retention: LetterRetention,
    now: OffsetDateTime,
    limit: i64,
) -> Result<u64, Error> {
    let mut transaction = pool.begin().await.doing("beginning a purge")?;
    let deleted = delete(&mut transaction, retention, now, limit).await?;
    if deleted > 0 {
        record_purge(&mut transaction, deleted, now).await?;
    }
    sqlx::query!("delete from suspects where since < $1", now - time::Duration::days(7))
        .execute(&mut *transaction)
        .await
        .doing("purging suspects")?;
    transaction.commit().await.doing("committing a purge")?;
    forget_replays(pool, now - retention.resolved, limit).await?;
    forget_kinds(pool, now - retention.resolved, limit).await?;
    Ok(deleted as u64)
}

async fn delete(
    connection: &mut PgConnection,
    retention: LetterRetention,
    now: OffsetDateTime,
    limit: i64,
) -> Result<i64, Error> {
    sqlx::query_scalar!(
        r#"with deleted as (
               delete from dead_letters where letter in (
                   select letter from dead_letters l
                   where closed_at < greatest($1::timestamptz, $2) and closed_at < case state when 'discarded' then $1 else $2 end
                     and not exists (select from dead_letters n where n.previous = l.letter)
                   order by closed_at limit $3 for update skip locked)
               returning state, worker, source, id, closed_at, closed_by
           ), forgone as (
               insert into forgone_facts (worker, source, id, closed_at, closed_by)
               select distinct on (worker, source, id) worker, source, id, closed_at, coalesce(closed_by, '')
               from deleted where state in ('discarded', 'edited') and source is not null and id is not null
               order by worker, source, id, closed_at desc
               on conflict do nothing
           ), tries as (
               delete from replay_letters where letter in (select letter from deleted)
           )
           select count(*) as "deleted!" from deleted"#,
        now - retention.discarded,
        now - retention.resolved,
        limit,
    )
    .fetch_one(connection)
    .await
    .doing("purging dead letters")
}

async fn record_purge(connection: &mut PgConnection, deleted: i64, now: OffsetDateTime) -> Result<(), Error> {
    sqlx::query!(
        "insert into dead_letter_audit (at, by, action, letters) values ($1, 'retention', 'purge', $2)",
        now,
        deleted as i32,
    )
    .execute(connection)
    .await
    .doing("recording a purge")?;
    Ok(())
}

/// Deletes replays of which no letter is left, and their alerts. The audit keeps for good that they were.
async fn forget_replays(pool: &Pool, before: OffsetDateTime, limit: i64) -> Result<(), Error> {
    sqlx::query!(
        "with forgotten as (
             delete from replays where replay in (
                 select replay from replays r
                 where ended_at < $1 and not exists (select from replay_letters l where l.replay = r.replay)
                 order by ended_at limit $2 for update skip locked)
             returning replay
         )
         delete from alerts where alert = $3 and about in (select replay::text from forgotten)",
        before,
        limit,
        Alert::ReplayFailing.as_str(),
    )
    .execute(pool)
    .await
    .doing("purging replays")?;
    Ok(())
}

/// Deletes kinds of failures of which no letter is left and no alert is raised: when one of them comes again, it is new. No
/// letter can come meanwhile that takes its kind for known: the worker that records it waits for the lock, and what it has
/// recorded by then is seen.
async fn forget_kinds(pool: &Pool, before: OffsetDateTime, limit: i64) -> Result<(), Error> {
    let kinds = sqlx::query_scalar!(
        "select fingerprint from fingerprints f
         where first_seen < $1 and not exists (select from dead_letters l where l.fingerprint = f.fingerprint)
           and not exists (select from alerts a where a.alert = $3 and a.about = f.fingerprint and a.cleared_at is null)
         limit $2",
        before,
        limit,
        Alert::NewKind.as_str(),
    )
    .fetch_all(pool)
    .await
    .doing("looking for kinds of failures that are gone")?;
    if kinds.is_empty() {
        return Ok(());
    }
    let mut transaction = pool.begin().await.doing("beginning a purge")?;
    sqlx::query!("lock table fingerprints in share row exclusive mode")
        .execute(&mut *transaction)
        .await
        .doing("waiting for letters that are being recorded")?;
    sqlx::query!(
        "with forgotten as (
             delete from fingerprints f where fingerprint = any($1)
               and not exists (select from dead_letters l where l.fingerprint = f.fingerprint)
             returning fingerprint
         )
         delete from alerts where alert = $2 and about in (select fingerprint from forgotten)",
        &kinds,
        Alert::NewKind.as_str(),
    )
    .execute(&mut *transaction)
    .await
    .doing("purging kinds of failures")?;
    transaction.commit().await.doing("committing a purge")
}
