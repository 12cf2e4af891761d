//! SQL of the acts that close letters, open them again, or write something down; and the steps that all acts share.

use super::{ActError, ActRequest, AuditRecord, NoteTarget};
use crate::read::{Filter, LetterState};
use db::{Doing, PgConnection, Pool};
use sqlx::types::Json;
use sqlx::{Postgres, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

type Tx = Transaction<'static, Postgres>;

/// Begins an act. One on a hundred thousand letters takes minutes, and only the operator waits for it.
pub(super) async fn begin(pool: &Pool) -> Result<Tx, db::Error> {
    let mut transaction = pool.begin().await.doing("beginning an operator's act")?;
    sqlx::query!("set local statement_timeout = '10min'")
        .execute(&mut *transaction)
        .await
        .doing("beginning an operator's act")?;
    Ok(transaction)
}

/// Refuses an act without a name: the audit would not know whose it is.
pub(super) fn somebody(by: &str) -> Result<(), ActError> {
    if by.trim().is_empty() { Err(ActError::Nobody) } else { Ok(()) }
}

/// How often an act is begun before its error is final.
const TRIES: usize = 5;

/// Makes an act, again where Postgres ended it in favour of a worker that locked the same letters: nothing was done then.
pub(super) async fn again<T>(act: impl AsyncFn() -> Result<T, ActError>) -> Result<T, ActError> {
    for _ in 1..TRIES {
        match act().await {
            Err(ActError::Database(error)) if is_deadlock(&error) => {}
            done => return done,
        }
    }
    act().await
}

fn is_deadlock(error: &db::Error) -> bool {
    let db::Error::Sql { source, .. } = error else { return false };
    source.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "40P01")
}

pub(super) async fn commit(transaction: Tx) -> Result<(), db::Error> {
    transaction.commit().await.doing("committing an operator's act")
}

/// Locks the letters in the wanted state that a request means, for this transaction: the oldest first. An error where they are
/// none, or not as many as were expected.
pub(super) async fn take(
    connection: &mut PgConnection,
    request: &ActRequest,
    wanted: LetterState,
) -> Result<Vec<Uuid>, ActError> {
    somebody(&request.by)?;
    let filter = Filter { states: vec![wanted], ..request.filter.clone() };
    refuse_others(connection, &filter, wanted).await?;
    // Locked in the order of their ids, then read once more: while this act waited, another may have changed them.
    let taken = sqlx::query_scalar!(
        r#"with meant as materialized (
               select letter from dead_letters_meant($1) order by first_failed_at, dead_at, letter limit $2
           ), locked as materialized (
               select letter, first_failed_at, dead_at from dead_letters
               where letter in (select letter from meant) and state = $3 order by letter for update
           )
           select letter as "letter!" from locked order by first_failed_at, dead_at, letter"#,
        Json(&filter) as _,
        request.max,
        wanted.as_str(),
    )
    .fetch_all(&mut *connection)
    .await
    .doing("taking letters in hand")?;
    let found = taken.len() as i64;
    match request.expected {
        Some(expected) if expected != found => Err(ActError::Count { expected, found }),
        _ if found == 0 => Err(ActError::Nothing { wanted }),
        _ => Ok(taken),
    }
}

/// Letters that were named one by one are each as expected, or nothing is done.
async fn refuse_others(
    connection: &mut PgConnection,
    filter: &Filter,
    wanted: LetterState,
) -> Result<(), ActError> {
    for letter in &filter.letters {
        let state = sqlx::query_scalar!("select state from dead_letters where letter = $1", letter)
            .fetch_optional(&mut *connection)
            .await
            .doing("looking at a letter")?;
        match state {
            None => return Err(ActError::Unknown(*letter)),
            Some(state) if state != wanted.as_str() => {
                return Err(ActError::Otherwise { letter: *letter, wanted, state });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Closes letters that nothing is to be done about. Returns how many.
///
/// # Errors
/// Where the request means no open letter, or other letters than were expected, or names nobody, and those of the database.
pub async fn discard(pool: &Pool, request: &ActRequest, now: OffsetDateTime) -> Result<i64, ActError> {
    again(async || {
        let mut transaction = begin(pool).await?;
        let letters = take(&mut transaction, request, LetterState::Open).await?;
        sqlx::query!(
            "update dead_letters set state = 'discarded', closed_at = $2, closed_by = $3, outcome = $4 where letter = any($1)",
            &letters,
            now,
            request.by,
            request.reason,
        )
        .execute(&mut *transaction)
        .await
        .doing("discarding letters")?;
        record_of_letters(&mut transaction, "discard", request, &letters, now).await?;
        commit(transaction).await?;
        Ok(letters.len() as i64)
    })
    .await
}

/// Opens discarded letters again. Returns how many.
///
/// # Errors
/// Where one of them was erased and has nothing left to be put back, where the order means no discarded letter, or other
/// letters than were expected, or names nobody, and those of the database.
pub async fn undo(pool: &Pool, request: &ActRequest, now: OffsetDateTime) -> Result<i64, ActError> {
    again(async || {
        let mut transaction = begin(pool).await?;
        let letters = take(&mut transaction, request, LetterState::Discarded).await?;
        refuse_erased(&mut transaction, &letters).await?;
        sqlx::query!(
            "update dead_letters set state = 'open', closed_at = null, closed_by = null, outcome = null where letter = any($1)",
            &letters,
        )
        .execute(&mut *transaction)
        .await
        .doing("taking letters back")?;
        record_of_letters(&mut transaction, "undo", request, &letters, now).await?;
        commit(transaction).await?;
        Ok(letters.len() as i64)
    })
    .await
}

async fn refuse_erased(connection: &mut PgConnection, letters: &[Uuid]) -> Result<(), ActError> {
    let erased = sqlx::query_scalar!(
        r#"select count(*) as "count!" from dead_letters where letter = any($1) and erased_at is not null"#,
        letters,
    )
    .fetch_one(connection)
    .await
    .doing("looking for erased letters")?;
    if erased > 0 { Err(ActError::Erased(erased)) } else { Ok(()) }
}

/// Each of the letters finds the act in its audit.
async fn record_of_letters(
    connection: &mut PgConnection,
    action: &str,
    request: &ActRequest,
    letters: &[Uuid],
    now: OffsetDateTime,
) -> Result<(), db::Error> {
    sqlx::query!(
        "with act as (
             insert into dead_letter_audit (at, by, action, letter, fingerprint, filter, letters, reason)
             values ($1, $2, $3, $4, $5, $6, $7, $8) returning number
         )
         insert into dead_letter_audit_letters (letter, number) select letter, number from act, unnest($9::uuid[]) as l (letter)",
        now,
        request.by,
        action,
        letters.first().filter(|_| letters.len() == 1).copied(),
        request.filter.fingerprint,
        Json(request.filter.audited()) as _,
        letters.len() as i32,
        request.reason,
        letters,
    )
    .execute(connection)
    .await
    .doing("recording an act")?;
    Ok(())
}

/// Writes something down about a letter, or about a kind of them.
///
/// # Errors
/// Where the letter or kind is not known, where `by` names nobody, and those of the database.
pub async fn note(
    pool: &Pool,
    about: &NoteTarget,
    by: &str,
    text: &str,
    now: OffsetDateTime,
) -> Result<(), ActError> {
    somebody(by)?;
    let (letter, fingerprint) = match about {
        NoteTarget::Letter(letter) => (Some(*letter), None),
        NoteTarget::Fingerprint(fingerprint) => (None, Some(fingerprint.as_str())),
    };
    let written = sqlx::query!(
        "insert into dead_letter_audit (at, by, action, letter, fingerprint, reason)
         select $1, $2, 'note', $3, $4, $5
         where exists (select from dead_letters where letter = $3) or exists (select from fingerprints where fingerprint = $4)",
        now,
        by,
        letter,
        fingerprint,
        text,
    )
    .execute(pool)
    .await
    .doing("writing a note")?;
    match (written.rows_affected(), letter) {
        (0, Some(letter)) => Err(ActError::Unknown(letter)),
        (0, None) => Err(ActError::Nothing { wanted: LetterState::Open }),
        _ => Ok(()),
    }
}

/// Writes down what changed no letter.
///
/// # Errors
/// Where the record names nobody, and those of the database.
pub async fn record(pool: &Pool, record: &AuditRecord, now: OffsetDateTime) -> Result<(), ActError> {
    somebody(&record.by)?;
    sqlx::query!(
        "insert into dead_letter_audit (at, by, action, filter, letters, reason, result) values ($1, $2, $3, $4, $5, $6, $7)",
        now,
        record.by,
        record.action,
        record.filter,
        record.letters.map(|letters| letters as i32),
        record.reason,
        record.result,
    )
    .execute(pool)
    .await
    .doing("recording an act")?;
    Ok(())
}
