//! SQL of erasing.

use super::{Erased, Whose};
use crate::acts::ActError;
use crate::acts::store::{again, begin, commit, somebody};
use crate::fingerprint;
use bus::Attempt;
use db::{Doing, PgConnection, Pool};
use serde_json::json;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

/// Empties the closed letters of a cause or an account, and of what they were before or became by an edit or a replay, for
/// good: bodies, headers, what an edit changed, and whatever a reason quotes. The letters stay. Safe to repeat.
///
/// # Errors
/// Where `by` names nobody, and those of the database.
pub async fn erase(pool: &Pool, whose: &Whose, by: &str, now: OffsetDateTime) -> Result<Erased, ActError> {
    again(async || {
        somebody(by)?;
        let mut transaction = begin(pool).await?;
        let erased = meant(&mut transaction, whose).await?;
        if erased == Erased::default() {
            return Ok(erased);
        }
        empty(&mut transaction, &erased.emptied, now).await?;
        record_erasure(&mut transaction, whose, &erased, by, now).await?;
        commit(transaction).await?;
        Ok(erased)
    })
    .await
}

/// Locks the letters that are meant and not erased yet, and separates the closed ones from the others.
async fn meant(connection: &mut PgConnection, whose: &Whose) -> Result<Erased, db::Error> {
    let (sources, ids): (Vec<&str>, Vec<&str>) =
        whose.causes().iter().map(|cause| (cause.source.as_str(), cause.id.as_str())).unzip();
    let rows = sqlx::query!(
        r#"with recursive meant as (
               select letter, previous from dead_letters
               where (source, id) in (select * from unnest($1::text[], $2::text[]))
               union
               select letter, previous from dead_letters
               where ($4::timestamptz is null or dead_at < $4)
                 and (account = $3 or payment in (select i.id from payments p join payment_ids i using (payment)
                                                  where p.account = $3))
               union
               select l.letter, l.previous from dead_letters l join meant m on l.letter = m.previous or l.previous = m.letter
           )
           select letter as "letter!", closed_at is not null as "is_closed!" from dead_letters
           where letter in (select letter from meant) and erased_at is null order by letter for update"#,
        &sources as _,
        &ids as _,
        whose.account(),
        whose.before(),
    )
    .fetch_all(connection)
    .await
    .doing("finding letters to be erased")?;
    let of = |is_closed| rows.iter().filter(move |row| row.is_closed == is_closed).map(|row| row.letter);
    Ok(Erased { emptied: of(true).collect(), left: of(false).collect() })
}

async fn empty(
    connection: &mut PgConnection,
    letters: &[Uuid],
    now: OffsetDateTime,
) -> Result<(), db::Error> {
    let masked = masked(connection, letters).await?;
    sqlx::query!(
        "update dead_letters l
         set body = '', headers = '{}', unreadable = null, diff = null, reason = m.reason, attempts = m.attempts, erased_at = $4
         from unnest($1::uuid[], $2::text[], $3::json[]) as m (letter, reason, attempts) where l.letter = m.letter",
        &masked.letters,
        &masked.reasons,
        &masked.attempts as _,
        now,
    )
    .execute(connection)
    .await
    .doing("erasing letters")?;
    Ok(())
}

async fn record_erasure(
    connection: &mut PgConnection,
    whose: &Whose,
    erased: &Erased,
    by: &str,
    now: OffsetDateTime,
) -> Result<(), db::Error> {
    sqlx::query!(
        "with act as (
             insert into dead_letter_audit (at, by, action, letter, filter, letters, result)
             values ($1, $2, 'erase', $3, $4, $5, $6) returning number
         )
         insert into dead_letter_audit_letters (letter, number) select letter, number from act, unnest($7::uuid[]) as l (letter)",
        now,
        by,
        erased.emptied.first().filter(|_| erased.emptied.len() == 1).copied(),
        whose.audited(),
        erased.emptied.len() as i32,
        json!({ "emptied": erased.emptied, "left": erased.left }),
        &erased.emptied,
    )
    .execute(connection)
    .await
    .doing("recording an act")?;
    Ok(())
}

/// What stays of why letters died: the kind of failure, without what was quoted of the message.
#[derive(Default)]
struct MaskedReasons {
    letters: Vec<Uuid>,
    reasons: Vec<String>,
    attempts: Vec<Json<Vec<Attempt>>>,
}

async fn masked(connection: &mut PgConnection, letters: &[Uuid]) -> Result<MaskedReasons, db::Error> {
    let rows = sqlx::query!(
        r#"select letter, reason, attempts as "attempts: Json<Vec<Attempt>>" from dead_letters where letter = any($1)"#,
        letters,
    )
    .fetch_all(connection)
    .await
    .doing("reading why letters died")?;
    let mut masked = MaskedReasons::default();
    for row in rows {
        let why = |attempt: Attempt| Attempt { why: fingerprint::masked(&attempt.why), ..attempt };
        masked.letters.push(row.letter);
        masked.reasons.push(fingerprint::masked(&row.reason));
        masked.attempts.push(Json(row.attempts.0.into_iter().map(why).collect()));
    }
    Ok(masked)
}
