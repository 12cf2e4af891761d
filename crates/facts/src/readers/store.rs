//! Since when a worker reads facts of a kind.
//!
//! The gate passes each fact on once, to the readers of that moment. What it admitted before a reader came is none of that
//! reader's facts, unless it was handed over.

use super::Readers;
use db::{Doing, Error, PgConnection};
use time::OffsetDateTime;

/// Writes down readers that are new: they get what is admitted from now on. Those that read no more are forgotten: when one comes
/// back, it has not had what was admitted meanwhile. Safe to repeat; called whenever a fleet starts.
///
/// # Errors
/// Those of the database.
pub async fn readers_known(
    connection: &mut PgConnection,
    readers: &Readers,
    now: OffsetDateTime,
) -> Result<(), Error> {
    let (kinds, names) = readers.columns();
    sqlx::query!(
        "delete from readers r
         where not exists (select from unnest($1::text[], $2::text[]) as b (kind, reader)
                           where b.reader = r.reader and b.kind = r.kind)",
        &kinds as _,
        &names as _,
    )
    .execute(&mut *connection)
    .await
    .doing("forgetting readers of facts")?;
    sqlx::query!(
        "insert into readers (reader, kind, since)
         select reader, kind, $3 from unnest($1::text[], $2::text[]) as b (kind, reader)
         where not exists (select from readers r where r.reader = b.reader and r.kind = b.kind)
         order by reader, kind
         on conflict do nothing",
        &kinds as _,
        &names as _,
        now,
    )
    .execute(connection)
    .await
    .doing("writing down readers of facts")?;
    Ok(())
}

/// Everything of this kind that was admitted before this reader came was handed over to it: from now on every fact of the kind
/// is expected to have its outcome. Safe to repeat.
pub async fn handed_over(connection: &mut PgConnection, reader: &str, kind: &str) -> Result<(), Error> {
    sqlx::query!("update readers set since = '-infinity' where reader = $1 and kind = $2", reader, kind,)
        .execute(connection)
        .await
        .doing("writing down that facts were handed over")?;
    Ok(())
}
