//! SQL: deleting what was closed long ago.

use super::Retention;
use db::{Doing, Error, Pool};
use time::OffsetDateTime;

/// Deletes up to `limit` letters whose retention is over, and says so in the audit; returns how many. One that went on as
/// another letter stays until that is gone too: the chain of what was tried is not cut. A fact that nothing more is to come of
/// is remembered, so that it is not missed when its letter is gone.
pub async fn purge(pool: &Pool, retention: Retention, now: OffsetDateTime, limit: i64) -> Result<u64, Error> {
    let mut transaction = pool.begin().await.doing("beginning a purge")?;
    let deleted = sqlx::query_scalar!(
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
           )
           select count(*) as "deleted!" from deleted"#,
        now - retention.discarded,
        now - retention.resolved,
        limit,
    )
    .fetch_one(&mut *transaction)
    .await
    .doing("purging dead letters")?;
    if deleted > 0 {
        sqlx::query!(
            "insert into dead_letter_audit (at, by, action, letters) values ($1, 'retention', 'purge', $2)",
            now,
            deleted as i32,
        )
        .execute(&mut *transaction)
        .await
        .doing("recording a purge")?;
    }
    sqlx::query!("delete from suspects where since < $1", now - time::Duration::days(7))
        .execute(&mut *transaction)
        .await
        .doing("purging suspects")?;
    transaction.commit().await.doing("committing a purge")?;
    Ok(deleted as u64)
}
