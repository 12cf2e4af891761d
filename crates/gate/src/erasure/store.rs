//! SQL of erasing, and of who did it.

use super::{Erasure, ErasureLine, Reached};
use db::{Doing, Error, PgConnection, Pool};
use domain::Cause;
use time::OffsetDateTime;

/// Facts of one transaction.
const STEP: usize = 5000;

/// Facts that a retention erases in one transaction.
const STEP_OF_RETENTION: i64 = 1000;

/// Erases the texts and the bodies of these facts, and writes down who did; `letters` were erased beside them. Safe to repeat:
/// what is erased already is not counted again.
///
/// # Errors
/// Those of the database.
pub async fn erase(pool: &Pool, causes: &[Cause], letters: u64, erasure: &Erasure) -> Result<Reached, Error> {
    let mut reached = Reached { letters, ..Reached::default() };
    let mut steps = causes.chunks(STEP).peekable();
    if steps.peek().is_none() && letters > 0 {
        write_down(&mut *pool.acquire().await.doing("erasing")?, reached, erasure).await?;
    }
    let mut letters = letters;
    for step in steps {
        let mut transaction = pool.begin().await.doing("beginning to erase")?;
        // A step is large, and only the operator who asked waits for it.
        sqlx::query!("set local statement_timeout = '10min'")
            .execute(&mut *transaction)
            .await
            .doing("beginning to erase")?;
        let done = Reached {
            letters: std::mem::take(&mut letters),
            ..in_step(&mut transaction, step, erasure.at).await?
        };
        write_down(&mut transaction, done, erasure).await?;
        transaction.commit().await.doing("committing what was erased")?;
        reached += Reached { letters: 0, ..done };
    }
    Ok(reached)
}

async fn in_step(
    connection: &mut PgConnection,
    causes: &[Cause],
    at: OffsetDateTime,
) -> Result<Reached, Error> {
    let sources: Vec<&str> = causes.iter().map(|cause| cause.source.as_str()).collect();
    let ids: Vec<&str> = causes.iter().map(|cause| cause.id.as_str()).collect();
    let facts = sqlx::query_scalar!(
        r#"select count(*) as "count!" from erase_texts($1, $2, $3)"#,
        &sources as _,
        &ids as _,
        at,
    )
    .fetch_one(&mut *connection)
    .await
    .doing("erasing the texts of facts")?;
    let bodies = sqlx::query!(
        "delete from raw_deliveries where (source, id) in (select * from deliveries_of($1, $2))",
        &sources as _,
        &ids as _,
    )
    .execute(connection)
    .await
    .doing("erasing raw bodies")?
    .rows_affected();
    Ok(Reached { facts: facts.unsigned_abs(), bodies, letters: 0 })
}

async fn write_down(connection: &mut PgConnection, reached: Reached, erasure: &Erasure) -> Result<(), Error> {
    if reached.is_nothing() {
        return Ok(());
    }
    sqlx::query!(
        "insert into erasures (at, by, reason, about, facts, bodies, letters) values ($1, $2, $3, $4, $5, $6, $7)",
        erasure.at,
        erasure.by,
        erasure.reason,
        erasure.about,
        reached.facts as i32,
        reached.bodies as i32,
        reached.letters as i32,
    )
    .execute(connection)
    .await
    .doing("writing down what was erased")?;
    Ok(())
}

/// Erases what strangers wrote into facts that were admitted before `before`, a step of them; returns how many there were.
/// What operators wrote of their own acts stays: it is their account of what they did.
///
/// # Errors
/// Those of the database.
pub async fn erase_older(pool: &Pool, before: OffsetDateTime, at: OffsetDateTime) -> Result<u64, Error> {
    let causes: Vec<Cause> = sqlx::query!(
        r#"select source as "source!", id as "id!" from facts_with_texts
           where admitted_at < $1
             and kind in ('fact.usage', 'fact.payment', 'fact.refund_request', 'fact.dispute', 'fact.grant')
             and not starts_with(source, 'operator/')
           order by admitted_at, source, id limit $2"#,
        before,
        STEP_OF_RETENTION,
    )
    .map(|row| Cause { source: row.source, id: row.id })
    .fetch_all(pool)
    .await
    .doing("looking for texts whose retention is over")?;
    let erasure = Erasure { by: "retention".to_owned(), reason: None, about: "retention".to_owned(), at };
    Ok(erase(pool, &causes, 0, &erasure).await?.facts)
}

/// Who had what erased, the latest first.
///
/// # Errors
/// Those of the database.
pub async fn erasures(pool: &Pool, limit: i64) -> Result<Vec<ErasureLine>, Error> {
    sqlx::query_as!(
        ErasureLine,
        r#"select at, by, about, reason, sum(facts) as "facts!", sum(bodies) as "bodies!", sum(letters) as "letters!"
           from erasures group by at, by, about, reason order by at desc, about limit $1"#,
        limit,
    )
    .fetch_all(pool)
    .await
    .doing("listing erasures")
}
