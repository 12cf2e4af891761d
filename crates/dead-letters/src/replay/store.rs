//! SQL of a replay's steps.

use crate::letter::Stored;
use bus::{Incoming, ReplayedLetter, queue};
use db::{Doing, Error, PgConnection, Pool};
use facts::Readers;
use serde_json::{Value, json};
use sqlx::types::Json;
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

/// Letters whose facts are looked for at a time.
const FOLLOWED_AT_ONCE: i64 = 2_000;

/// After this no outcome is expected any more. A worker may be down for a night; what comes later finds an open letter.
const FOLLOWED_FOR: Duration = Duration::from_secs(86_400);

/// Bodies in one step together, beyond the first.
const BYTES_MAX: i64 = 8 * 1024 * 1024;

/// A replay that this process has claimed until its transaction ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Claimed {
    pub replay: Uuid,
    pub canary: Option<i32>,
    pub rate: Option<f64>,
    /// When it was due.
    pub next_at: OffsetDateTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReplayCounts {
    pub waiting: i64,
    pub published: i64,
    pub resolved: i64,
    pub dead_again: i64,
}

/// Replays that something may be due of, the one that has been due longest first.
pub(super) async fn due(pool: &Pool, now: OffsetDateTime) -> Result<Vec<Uuid>, Error> {
    sqlx::query_scalar!(
        "select replay from replays where state = 'running' and next_at <= $1 order by next_at, replay",
        now,
    )
    .fetch_all(pool)
    .await
    .doing("looking for replays")
}

/// Claims a replay until the transaction ends, if no other process has it and it is still due. Its row is not locked: an operator
/// who pauses or cancels it does not wait for a step that waits for the broker.
pub(super) async fn claim(
    connection: &mut PgConnection,
    replay: Uuid,
    now: OffsetDateTime,
) -> Result<Option<Claimed>, Error> {
    // Half of a random id: nobody else's lock, but for one in 2^62.
    let lock = replay.as_u64_pair().1 as i64;
    let is_ours = sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock($1) as "is_ours!""#, lock)
        .fetch_one(&mut *connection)
        .await
        .doing("claiming a replay")?;
    if !is_ours {
        return Ok(None);
    }
    sqlx::query_as!(
        Claimed,
        "select replay, canary, rate, next_at from replays where replay = $1 and state = 'running' and next_at <= $2",
        replay,
        now,
    )
    .fetch_optional(connection)
    .await
    .doing("claiming a replay")
}

/// Locks a replay's row, if it still runs.
pub(super) async fn is_running(connection: &mut PgConnection, replay: Uuid) -> Result<bool, Error> {
    let running = sqlx::query_scalar!(
        r#"select true as "running!" from replays where replay = $1 and state = 'running' for update"#,
        replay,
    )
    .fetch_optional(connection)
    .await
    .doing("looking at a replay")?;
    Ok(running.is_some())
}

/// How many there are, as far as the next step depends on it: up to `at_once` that wait, `in_hand` that are on their way or died
/// again, and `canary` that were resolved. Those are looked for before the first that waits: however large a replay is, a step
/// of it costs the same.
pub(super) async fn counts(
    connection: &mut PgConnection,
    replay: Uuid,
    (at_once, in_hand, canary): (i64, i64, i64),
) -> Result<ReplayCounts, Error> {
    sqlx::query_as!(
        ReplayCounts,
        r#"select (select count(*) from (select from replay_letters where replay = $1 and state = 'waiting' limit $2) l)
                    as "waiting!",
                  (select count(*) from (select from replay_letters where replay = $1 and state = 'published' limit $3) l)
                    as "published!",
                  (select count(*) from (select from replay_letters where replay = $1 and state = 'resolved'
                       and place < (select place from replay_letters where replay = $1 and state = 'waiting'
                                    order by place limit 1)
                       order by place limit $4) l)
                    as "resolved!",
                  (select count(*) from (select from replay_letters where replay = $1 and state = 'dead_again' limit $3) l)
                    as "dead_again!""#,
        replay,
        at_once,
        in_hand,
        canary,
    )
    .fetch_one(connection)
    .await
    .doing("counting a replay's letters")
}

pub(super) struct Waiting {
    pub letter: Uuid,
    pub place: i32,
    pub queue: String,
    /// As it goes out.
    pub message: Incoming,
}

/// The next letters to go. They are not locked: an outcome that comes before they count as published is noted all the same,
/// and [`published`] takes back one that an operator gave back meanwhile.
pub(super) async fn waiting(
    connection: &mut PgConnection,
    replay: Uuid,
    count: i64,
) -> Result<Vec<Waiting>, Error> {
    let rows = sqlx::query_as!(
        WaitingRow,
        r#"with next as (
               select letter, place from replay_letters where replay = $1 and state = 'waiting'
               order by place limit $2
           ), sized as (
               select l.letter, n.place, queue, first_failed_at, exchange, routing_key, message_id, content_type, user_id,
                      headers, body, sum(length(body)) over (order by n.place) - length(body) as before
               from next n join dead_letters l using (letter)
           )
           select letter as "letter!", place as "place!", queue as "queue!", first_failed_at as "first_failed_at!", exchange as "exchange!",
                  routing_key as "routing_key!", message_id as "message_id!", content_type, user_id,
                  headers as "headers!: Json<BTreeMap<String, String>>", body as "body!"
           from sized where before < $3 order by place"#,
        replay,
        count,
        BYTES_MAX,
    )
    .fetch_all(connection)
    .await
    .doing("reading a replay's next letters")?;
    Ok(rows.into_iter().map(|row| row.waiting(replay)).collect())
}

/// A letter's row, as far as it goes out.
struct WaitingRow {
    letter: Uuid,
    place: i32,
    queue: String,
    first_failed_at: OffsetDateTime,
    exchange: String,
    routing_key: String,
    message_id: String,
    content_type: Option<String>,
    user_id: Option<String>,
    headers: Json<BTreeMap<String, String>>,
    body: Vec<u8>,
}

impl WaitingRow {
    fn waiting(self, replay: Uuid) -> Waiting {
        let stored = Stored {
            exchange: self.exchange,
            routing_key: self.routing_key,
            message_id: self.message_id,
            content_type: self.content_type,
            user_id: self.user_id,
            headers: self.headers.0,
            body: self.body,
        };
        let replayed = ReplayedLetter { replay, letter: self.letter };
        Waiting {
            letter: self.letter,
            place: self.place,
            queue: self.queue,
            message: stored.message(self.first_failed_at, Some(replayed)),
        }
    }
}

/// Notes what went out, as of the beginning of the transaction: its outcomes come later than that. A letter whose outcome has
/// come already keeps that; one that a cancelled replay gave back meanwhile belongs to the replay again.
pub(super) async fn published(
    connection: &mut PgConnection,
    replay: Uuid,
    letters: &[&Waiting],
) -> Result<(), Error> {
    // By their places: whichever index is taken, it has them.
    let places: Vec<i32> = letters.iter().map(|letter| letter.place).collect();
    let noted = sqlx::query!(
        "update replay_letters set state = 'published', published_at = now()
         where replay = $1 and place = any($2) and state = 'waiting'",
        replay,
        &places,
    )
    .execute(&mut *connection)
    .await
    .doing("noting what was published")?
    .rows_affected();
    if noted == letters.len() as u64 {
        return Ok(());
    }
    let letters: Vec<Uuid> = letters.iter().map(|letter| letter.letter).collect();
    sqlx::query!(
        "with again as (
             update dead_letters set state = 'replaying' where letter = any($2) and replay = $1 and state = 'open'
             returning letter
         )
         update replay_letters set state = 'published', published_at = now(), outcome = null, settled_at = null
         where letter in (select letter from again) and replay = $1 and state = 'released'",
        replay,
        &letters,
    )
    .execute(connection)
    .await
    .doing("taking back what went out while it was given back")?;
    Ok(())
}

/// Gives back letters that have not gone out, or all of them that have not: they are open again.
pub(crate) async fn release(
    connection: &mut PgConnection,
    replay: Uuid,
    letters: Option<&[Uuid]>,
    why: &str,
    now: OffsetDateTime,
) -> Result<u64, Error> {
    let released = sqlx::query!(
        "with released as (
             update replay_letters set state = 'released', outcome = $3, settled_at = $4
             where replay = $1 and state = 'waiting' and ($2::uuid[] is null or letter = any($2))
             returning letter
         )
         update dead_letters set state = 'open'
         where letter in (select letter from released) and state = 'replaying' and replay = $1",
        replay,
        letters,
        why,
        now,
    )
    .execute(connection)
    .await
    .doing("giving letters back")?;
    Ok(released.rows_affected())
}

/// Sets when the next step of a replay is due.
pub(super) async fn due_at(
    connection: &mut PgConnection,
    replay: Uuid,
    until: OffsetDateTime,
) -> Result<(), Error> {
    sqlx::query!("update replays set next_at = $2 where replay = $1", replay, until)
        .execute(connection)
        .await
        .doing("setting a replay's next step")?;
    Ok(())
}

/// Ends a replay, and says in the audit how it went.
pub(crate) async fn end(
    connection: &mut PgConnection,
    replay: Uuid,
    state: &str,
    why: Option<&str>,
    now: OffsetDateTime,
) -> Result<(), Error> {
    sqlx::query!("update replays set state = $2, ended_at = $3 where replay = $1", replay, state, now)
        .execute(&mut *connection)
        .await
        .doing("ending a replay")?;
    let result = result(connection, replay, state, why).await?;
    sqlx::query!(
        "insert into dead_letter_audit (at, by, action, replay, letters, result)
         select $2, by, 'replay_ended', replay, total, $3 from replays where replay = $1",
        replay,
        now,
        result,
    )
    .execute(connection)
    .await
    .doing("recording a replay's end")?;
    Ok(())
}

/// How a replay went, as the audit keeps it.
async fn result(
    connection: &mut PgConnection,
    replay: Uuid,
    state: &str,
    why: Option<&str>,
) -> Result<Value, Error> {
    let counts = sqlx::query!(
        r#"select count(*) filter (where state = 'waiting') as "waiting!",
                  count(*) filter (where state = 'published') as "published!",
                  count(*) filter (where state = 'resolved') as "resolved!",
                  count(*) filter (where state = 'dead_again') as "dead_again!",
                  count(*) filter (where state = 'released') as "released!",
                  (select json_object_agg(outcome, count) from (
                       select outcome, count(*) from replay_letters where replay = $1 and state = 'released' group by outcome) w)
                    as released_why
           from replay_letters where replay = $1"#,
        replay,
    )
    .fetch_one(connection)
    .await
    .doing("counting a replay's letters")?;
    Ok(json!({ "state": state, "why": why, "waiting": counts.waiting, "published": counts.published,
               "resolved": counts.resolved, "dead_again": counts.dead_again, "released": counts.released,
               "released_why": counts.released_why }))
}

/// Queues of workers that pass on what they settle; the first passes it on to the others.
const PASSING_ON: [&str; 3] = [queue::INGESTER, queue::GATE, queue::GATE_INBOUND];

/// What one look at letters whose message was passed on has found.
pub(super) struct Followed {
    pub closed: i64,
    /// The last that was looked at, if there may be more.
    pub last: Option<(Uuid, Uuid)>,
}

/// Looks at up to [`FOLLOWED_AT_ONCE`] letters whose message was passed on to another worker, beginning behind `after`, and
/// closes those of which it is known what became of their fact. A letter of a reader of facts goes by that reader alone; one of
/// a worker before them by every reader that is bound to the fact's kind:
///
/// - at one of them it died, since the message was put back, in a later queue: that letter is linked;
/// - all of them have settled it;
/// - one of them gave up on it before, and nobody decides about it again: a letter of the gate may still be overtaken by what
///   was put back, one of a worker behind it not, for the gate lets each fact through once;
/// - nobody reads facts of its kind, or its letter was purged;
/// - nothing was heard for [`FOLLOWED_FOR`]: the letter is open again.
pub(super) async fn follow(
    pool: &Pool,
    readers: &Readers,
    after: Option<(Uuid, Uuid)>,
    now: OffsetDateTime,
) -> Result<Followed, Error> {
    let (replay, letter) = after.unwrap_or_default();
    let (kinds, names) = readers.columns();
    let row = sqlx::query_file!(
        "src/replay/follow.sql",
        FOLLOWED_AT_ONCE,
        &kinds as _,
        &names as _,
        now,
        replay,
        letter,
        &PASSING_ON as _,
        FOLLOWED_FOR.as_secs_f64(),
    )
    .fetch_one(pool)
    .await
    .doing("following replayed facts")?;
    let last = row.replay.zip(row.letter).filter(|_| row.looked_at == FOLLOWED_AT_ONCE);
    Ok(Followed { closed: row.closed, last })
}
