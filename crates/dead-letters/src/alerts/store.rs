//! SQL of what is watched for.

use super::{Alert, condition};
use db::{Doing, Error, PgConnection};
use jobs::watch::{Condition, time_text};
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

/// New kinds that one look raises alerts for; the next takes the rest.
const KINDS_AT_ONCE: i64 = 500;

/// Kinds of failures without an alert so far, and those with an alert whose letters are still open.
pub(super) async fn new_kinds(connection: &mut PgConnection) -> Result<Vec<Condition>, Error> {
    let kinds = sqlx::query!(
        "(select fingerprint, worker, fact_type, code, first_seen from fingerprints f
          where not exists (select from alerts a where a.alert = $1 and a.about = f.fingerprint)
          order by first_seen, fingerprint limit $2)
         union all
         select fingerprint, worker, fact_type, code, first_seen from fingerprints f
         where exists (select from alerts a where a.alert = $1 and a.about = f.fingerprint and a.cleared_at is null)
           and exists (select from dead_letters l where l.fingerprint = f.fingerprint and l.closed_at is null)",
        Alert::NewKind.as_str(),
        KINDS_AT_ONCE,
    )
    .fetch_all(connection)
    .await
    .doing("looking for new kinds of failures")?;
    let new = kinds.into_iter().map(|kind| {
        // Not the reason: what is not masked in it is not for every subscriber.
        let details = json!({ "fingerprint": kind.fingerprint, "worker": kind.worker, "type": kind.fact_type,
                              "code": kind.code, "first_seen": kind.first_seen.map(time_text) });
        condition(Alert::NewKind, kind.fingerprint.unwrap_or_default(), details)
    });
    Ok(new.collect())
}

/// How many letters were recorded since then: letters are numbered in time. Those that an edit opened did not come in.
pub(super) async fn recorded_since(
    connection: &mut PgConnection,
    since: OffsetDateTime,
) -> Result<i64, Error> {
    let milliseconds = u128::try_from(since.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from dead_letters where letter >= $2 and recorded_at > $1 and diff is null"#,
        since,
        Uuid::from_u128(milliseconds << 80),
    )
    .fetch_one(connection)
    .await
    .doing("counting letters that came in")
}

/// When the oldest open letter first failed, however often it was replayed since.
pub(super) async fn oldest(connection: &mut PgConnection) -> Result<Option<OffsetDateTime>, Error> {
    sqlx::query_scalar!("select min(first_failed_at) as oldest from dead_letters where closed_at is null")
        .fetch_one(connection)
        .await
        .doing("looking for the oldest letter")
}

/// Replays that go on, or ended since then, of which so many letters died again.
pub(super) async fn replays_failing(
    connection: &mut PgConnection,
    at_least: i64,
    ended_since: OffsetDateTime,
) -> Result<Vec<Condition>, Error> {
    let replays = sqlx::query!(
        r#"select r.replay as "replay!", r.state as "state!", r.by as "by!", r.total as "total!", c.dead_again as "dead_again!"
           from (select * from replays where ended_at is null union all select * from replays where ended_at > $2) r
           cross join lateral (select count(*) as dead_again from replay_letters l
                               where l.replay = r.replay and l.state = 'dead_again') c
           where c.dead_again >= $1
           order by r.replay"#,
        at_least,
        ended_since,
    )
    .fetch_all(connection)
    .await
    .doing("looking for replays that fail")?;
    let failing = replays.into_iter().map(|row| {
        let details = json!({ "replay": row.replay, "state": row.state, "by": row.by, "letters": row.total,
                              "dead_again": row.dead_again, "at_least": at_least });
        condition(Alert::ReplayFailing, row.replay.to_string(), details)
    });
    Ok(failing.collect())
}

/// How many kinds of failures there ever were.
///
/// # Errors
/// Those of the database.
pub async fn kinds(connection: &mut PgConnection) -> Result<i64, Error> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from fingerprints"#)
        .fetch_one(connection)
        .await
        .doing("counting kinds of failures")
}
