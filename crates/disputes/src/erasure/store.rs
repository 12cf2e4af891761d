//! SQL of erasing evidence packs.

use db::{Doing, Error, Work};
use domain::AccountId;
use time::OffsetDateTime;

/// Deletes packs that no submission under way needs, and the submissions of them; returns how many packs.
pub async fn erase_packs(
    work: &mut Work,
    account: &AccountId,
    before: Option<OffsetDateTime>,
) -> Result<u64, Error> {
    // One moment decides for both statements: nobody submits a pack meanwhile whose dispute is locked.
    sqlx::query!(
        "select dispute from disputes d where exists (select from evidence_packs p where p.dispute = d.dispute and p.account = $1)
         order by dispute for update",
        account.as_str()
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("locking an account's disputes")?;
    sqlx::query!(
        "delete from evidence_submissions s using evidence_packs p
         where p.account = $1 and s.dispute = p.dispute and s.sha256 = p.sha256
           and ($2::timestamptz is null or p.made_at < $2)
           and not exists (select from evidence_submissions o
                           where o.dispute = p.dispute and o.sha256 = p.sha256 and o.ended_at is null)",
        account.as_str(),
        before,
    )
    .execute(work.connection().await?)
    .await
    .doing("erasing submissions of evidence")?;
    let erased = sqlx::query!(
        "delete from evidence_packs p
         where p.account = $1 and ($2::timestamptz is null or p.made_at < $2)
           and not exists (select from evidence_submissions s where s.dispute = p.dispute and s.sha256 = p.sha256)",
        account.as_str(),
        before,
    )
    .execute(work.connection().await?)
    .await
    .doing("erasing evidence packs")?;
    Ok(erased.rows_affected())
}

/// How many packs are on their way to the processor.
pub async fn packs_left(
    work: &mut Work,
    account: &AccountId,
    before: Option<OffsetDateTime>,
) -> Result<u64, Error> {
    let left = sqlx::query_scalar!(
        r#"select count(*) as "count!" from evidence_packs p
           where p.account = $1 and ($2::timestamptz is null or p.made_at < $2)"#,
        account.as_str(),
        before,
    )
    .fetch_one(work.connection().await?)
    .await
    .doing("counting evidence packs")?;
    Ok(left.unsigned_abs())
}
