//! SQL of what operators do with replays.

use super::ReplayPace;
use crate::acts::store::{again, begin, commit, somebody, take};
use crate::acts::{ActError, ActRequest};
use crate::read::LetterState;
use crate::replay::{end, release as give_back};
use db::{Doing, PgConnection, Pool};
use serde_json::json;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

/// Begins a replay of the letters that the request means; the dead-letters worker carries it out. Returns its id and how many
/// letters it has.
///
/// # Errors
/// Where the request means no open letter, or other letters than were expected, or names nobody, and those of the database.
pub async fn start_replay(
    pool: &Pool,
    request: &ActRequest,
    pace: ReplayPace,
    now: OffsetDateTime,
) -> Result<(Uuid, i64), ActError> {
    again(async || {
        let replay = Uuid::now_v7();
        let mut transaction = begin(pool).await?;
        let letters = take(&mut transaction, request, LetterState::Open).await?;
        insert(&mut transaction, replay, request, pace, &letters, now).await?;
        record_start(&mut transaction, replay, request, pace, letters.len() as i32, now).await?;
        commit(transaction).await?;
        Ok((replay, letters.len() as i64))
    })
    .await
}

async fn insert(
    connection: &mut PgConnection,
    replay: Uuid,
    request: &ActRequest,
    pace: ReplayPace,
    letters: &[Uuid],
    now: OffsetDateTime,
) -> Result<(), db::Error> {
    sqlx::query!(
        "with taken as (
             update dead_letters set state = 'replaying', replay = $1 where letter = any($2)
         ), replay as (
             insert into replays (replay, state, by, reason, filter, total, canary, rate, started_at, next_at)
             values ($1, 'running', $3, $4, $5, $6, $7, $8, $9, $9)
         )
         insert into replay_letters (replay, place, letter, state)
         select $1, place, letter, 'waiting' from unnest($2::uuid[]) with ordinality as l (letter, place)",
        replay,
        letters,
        request.by,
        request.reason,
        Json(request.filter.audited()) as _,
        letters.len() as i32,
        pace.canary,
        pace.rate,
        now,
    )
    .execute(connection)
    .await
    .doing("beginning a replay")?;
    Ok(())
}

async fn record_start(
    connection: &mut PgConnection,
    replay: Uuid,
    request: &ActRequest,
    pace: ReplayPace,
    letters: i32,
    now: OffsetDateTime,
) -> Result<(), db::Error> {
    let result = json!({ "canary": pace.canary, "rate": pace.rate, "max": request.max });
    sqlx::query!(
        "insert into dead_letter_audit (at, by, action, replay, fingerprint, filter, letters, reason, result)
         values ($1, $2, 'replay', $3, $4, $5, $6, $7, $8)",
        now,
        request.by,
        replay,
        request.filter.fingerprint,
        Json(request.filter.audited()) as _,
        letters,
        request.reason,
        result,
    )
    .execute(connection)
    .await
    .doing("recording an act")?;
    Ok(())
}

/// Nothing more of the replay goes out until somebody resumes it.
///
/// # Errors
/// Where the replay does not run, where `by` names nobody, and those of the database.
pub async fn pause(pool: &Pool, replay: Uuid, by: &str, now: OffsetDateTime) -> Result<(), ActError> {
    set_state(pool, replay, ("running", "paused"), ("pause", by), now).await
}

/// What was paused goes on.
///
/// # Errors
/// Where the replay is not paused, where `by` names nobody, and those of the database.
pub async fn resume(pool: &Pool, replay: Uuid, by: &str, now: OffsetDateTime) -> Result<(), ActError> {
    set_state(pool, replay, ("paused", "running"), ("resume", by), now).await
}

async fn set_state(
    pool: &Pool,
    replay: Uuid,
    (from, to): (&'static str, &str),
    (action, by): (&str, &str),
    now: OffsetDateTime,
) -> Result<(), ActError> {
    somebody(by)?;
    let mut transaction = begin(pool).await?;
    let changed = sqlx::query!(
        "update replays set state = $3, next_at = greatest(next_at, $4) where replay = $1 and state = $2",
        replay,
        from,
        to,
        now,
    )
    .execute(&mut *transaction)
    .await
    .doing("changing a replay's state")?
    .rows_affected();
    if changed == 0 {
        return Err(refusal(&mut transaction, replay, from).await?);
    }
    record_of_replay(&mut transaction, replay, (action, by), 0, now).await?;
    Ok(commit(transaction).await?)
}

/// Says which state the replay is in instead of the one that was wanted.
async fn refusal(
    connection: &mut PgConnection,
    replay: Uuid,
    wanted: &'static str,
) -> Result<ActError, db::Error> {
    let state = sqlx::query_scalar!("select state from replays where replay = $1", replay)
        .fetch_optional(connection)
        .await
        .doing("looking at a replay")?;
    let found = state.map_or_else(|| "which is none".to_owned(), |state| format!("which is {state}"));
    Ok(ActError::Replay { replay, wanted, found })
}

async fn record_of_replay(
    connection: &mut PgConnection,
    replay: Uuid,
    (action, by): (&str, &str),
    letters: i64,
    now: OffsetDateTime,
) -> Result<(), db::Error> {
    sqlx::query!(
        "insert into dead_letter_audit (at, by, action, replay, letters) values ($1, $2, $3, $4, $5)",
        now,
        by,
        action,
        replay,
        letters as i32,
    )
    .execute(connection)
    .await
    .doing("recording an act")?;
    Ok(())
}

/// Ends a replay: what has not gone out is open again, what has keeps its way. Returns how many are open again.
///
/// # Errors
/// Where the replay has ended or is not known, where `by` names nobody, and those of the database.
pub async fn cancel(pool: &Pool, replay: Uuid, by: &str, now: OffsetDateTime) -> Result<i64, ActError> {
    again(async || {
        somebody(by)?;
        let mut transaction = begin(pool).await?;
        if !lock_unended(&mut transaction, replay).await? {
            return Err(refusal(&mut transaction, replay, "running or paused").await?);
        }
        let released = give_back(&mut transaction, replay, None, "cancelled", now).await? as i64;
        record_of_replay(&mut transaction, replay, ("cancel", by), released, now).await?;
        end(&mut transaction, replay, "cancelled", None, now).await?;
        commit(transaction).await?;
        Ok(released)
    })
    .await
}

/// Locks a replay's row unless the replay has ended; returns whether the row is locked.
async fn lock_unended(connection: &mut PgConnection, replay: Uuid) -> Result<bool, db::Error> {
    let running = sqlx::query_scalar!(
        r#"select true as "running!" from replays where replay = $1 and state in ('running', 'paused') for update"#,
        replay,
    )
    .fetch_optional(connection)
    .await
    .doing("looking at a replay")?;
    Ok(running.is_some())
}

/// Opens letters again that a replay put back long ago and whose outcome never came: somebody purged their queue. Safe in
/// any case, for a message has one effect however often it comes. Returns how many.
///
/// # Errors
/// Where the replay is not known, where `by` names nobody, and those of the database.
pub async fn release(
    pool: &Pool,
    replay: Uuid,
    published_before: OffsetDateTime,
    by: &str,
    now: OffsetDateTime,
) -> Result<i64, ActError> {
    again(async || {
        somebody(by)?;
        let mut transaction = begin(pool).await?;
        if !is_known(&mut transaction, replay).await? {
            return Err(refusal(&mut transaction, replay, "known").await?);
        }
        let released = open_unsettled(&mut transaction, replay, published_before, now).await?;
        record_of_replay(&mut transaction, replay, ("release", by), released, now).await?;
        commit(transaction).await?;
        Ok(released)
    })
    .await
}

async fn is_known(connection: &mut PgConnection, replay: Uuid) -> Result<bool, db::Error> {
    let known = sqlx::query_scalar!(r#"select true as "known!" from replays where replay = $1"#, replay)
        .fetch_optional(connection)
        .await
        .doing("looking at a replay")?;
    Ok(known.is_some())
}

async fn open_unsettled(
    connection: &mut PgConnection,
    replay: Uuid,
    published_before: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<i64, db::Error> {
    let opened = sqlx::query!(
        "with released as (
             update replay_letters set state = 'released', outcome = 'its outcome never came', settled_at = $3
             where replay = $1 and state = 'published' and published_at < $2 returning letter
         )
         update dead_letters set state = 'open'
         where letter in (select letter from released) and state = 'replaying' and replay = $1",
        replay,
        published_before,
        now,
    )
    .execute(connection)
    .await
    .doing("opening letters again")?;
    Ok(opened.rows_affected() as i64)
}
