//! SQL of a replay's steps.

use bus::{Incoming, Replayed, Returned};
use db::{Doing, Error, PgConnection, Pool};
use serde_json::json;
use sqlx::types::Json;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// Letters whose facts are looked for at a time.
const FOLLOWED_AT_ONCE: i64 = 2_000;

/// Bodies in one step together, beyond the first.
const BYTES_MAX: i64 = 8 * 1024 * 1024;

/// A replay in this process's hands until its transaction ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Claimed {
    pub replay: Uuid,
    pub canary: Option<i32>,
    pub rate: Option<f64>,
    /// When it was due.
    pub next_at: OffsetDateTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub waiting: i64,
    pub published: i64,
    pub resolved: i64,
    pub dead_again: i64,
}

pub(super) async fn claim(
    connection: &mut PgConnection,
    now: OffsetDateTime,
) -> Result<Option<Claimed>, Error> {
    sqlx::query_as!(
        Claimed,
        "select replay, canary, rate, next_at from replays where state = 'running' and next_at <= $1
         order by next_at limit 1 for update skip locked",
        now,
    )
    .fetch_optional(connection)
    .await
    .doing("claiming a replay")
}

/// How many there are, counted up to `limit` of each: who decides about the next step need not know of every one.
pub(super) async fn counts(connection: &mut PgConnection, replay: Uuid, limit: i64) -> Result<Counts, Error> {
    sqlx::query_as!(
        Counts,
        r#"select (select count(*) from (select from replay_letters where replay = $1 and state = 'waiting' limit $2) l)
                    as "waiting!",
                  (select count(*) from (select from replay_letters where replay = $1 and state = 'published' limit $2) l)
                    as "published!",
                  (select count(*) from (select from replay_letters where replay = $1 and state = 'resolved' limit $2) l)
                    as "resolved!",
                  (select count(*) from (select from replay_letters where replay = $1 and state = 'dead_again' limit $2) l)
                    as "dead_again!""#,
        replay,
        limit,
    )
    .fetch_one(connection)
    .await
    .doing("counting a replay's letters")
}

pub(super) struct Waiting {
    pub letter: Uuid,
    pub queue: String,
    first_failed_at: OffsetDateTime,
    message: Incoming,
}

impl Waiting {
    pub fn message(&self, replayed: Option<Replayed>) -> Incoming {
        let returned = Returned { first_failed_at: self.first_failed_at, attempts: Vec::new(), replayed };
        Incoming { returned: Some(returned), ..self.message.clone() }
    }
}

/// The next letters to go. They stay locked until the transaction ends, so that an outcome which comes at once waits
/// until they count as published.
pub(super) async fn waiting(
    connection: &mut PgConnection,
    replay: Uuid,
    count: i64,
) -> Result<Vec<Waiting>, Error> {
    let rows = sqlx::query!(
        r#"with next as (
               select letter, place from replay_letters where replay = $1 and state = 'waiting'
               order by place limit $2 for update
           ), sized as (
               select l.letter, n.place, queue, first_failed_at, exchange, routing_key, message_id, content_type, user_id,
                      headers, body, sum(length(body)) over (order by n.place) - length(body) as before
               from next n join dead_letters l using (letter)
           )
           select letter as "letter!", queue as "queue!", first_failed_at as "first_failed_at!", exchange as "exchange!",
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
    Ok(rows
        .into_iter()
        .map(|row| Waiting {
            letter: row.letter,
            queue: row.queue,
            first_failed_at: row.first_failed_at,
            message: Incoming {
                exchange: row.exchange,
                routing_key: row.routing_key,
                message_id: Some(row.message_id).filter(|id| !id.is_empty()),
                content_type: row.content_type,
                user_id: row.user_id,
                headers: row.headers.0,
                returned: None,
                death: None,
                returns: 0,
                body: row.body,
            },
        })
        .collect())
}

pub(super) async fn published(
    connection: &mut PgConnection,
    replay: Uuid,
    letters: &[Uuid],
    now: OffsetDateTime,
) -> Result<(), Error> {
    sqlx::query!(
        "update replay_letters set state = 'published', published_at = $3
         where replay = $1 and letter = any($2) and state = 'waiting'",
        replay,
        letters,
        now,
    )
    .execute(connection)
    .await
    .doing("noting what was published")?;
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

pub(super) async fn pause(
    connection: &mut PgConnection,
    replay: Uuid,
    until: OffsetDateTime,
) -> Result<(), Error> {
    sqlx::query!("update replays set next_at = $2 where replay = $1", replay, until)
        .execute(connection)
        .await
        .doing("pausing a replay")?;
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
    let Counts { waiting, published, resolved, dead_again } = counts(connection, replay, i64::MAX).await?;
    let released = sqlx::query!(
        r#"select coalesce(sum(count), 0)::bigint as "count!", json_object_agg(outcome, count) as why
           from (select outcome, count(*) from replay_letters where replay = $1 and state = 'released' group by outcome) w"#,
        replay,
    )
    .fetch_one(&mut *connection)
    .await
    .doing("counting what a replay gave back")?;
    let result = json!({ "state": state, "why": why, "waiting": waiting, "published": published, "resolved": resolved,
                         "dead_again": dead_again, "released": released.count, "released_why": released.why });
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

/// Letters whose message was passed on to another worker, and that became of their fact: settled there, or dead again as a
/// letter of that worker, which is linked then. `kinds_read`: facts of others are kept, and that is all. Returns how many.
pub(super) async fn follow(pool: &Pool, kinds_read: &[String], now: OffsetDateTime) -> Result<u64, Error> {
    let followed = sqlx::query!(
        "with passed_on as (
             select r.replay, r.letter, r.outcome, r.published_at, l.source, l.id
             from replay_letters r join dead_letters l using (letter)
             where r.state = 'published' and r.outcome is not null
             order by r.letter limit $1 for update of r skip locked
         ), found as (
             select p.*, d.letter as next, d.code, f.outcome as settled, i.kind
             from passed_on p
             left join lateral (
                 select letter, code from dead_letters d
                 where d.source = p.source and d.id = p.id and d.letter <> p.letter and d.dead_at >= p.published_at
                   and d.state || '' = 'open' order by d.dead_at limit 1) d on true
             left join lateral (
                 select outcome from ledger_facts f where f.source = p.source and f.id = p.id limit 1) f on true
             left join lateral (select kind from inbox i where i.source = p.source and i.id = p.id limit 1) i on true
         ), closed as (
             select replay, letter, next, case when next is null then 'resolved' else 'dead_again' end as state,
                    case when next is null then concat_ws(',', outcome, settled) else code end as outcome
             from found
             where next is not null or settled <> 'refused' or kind <> all ($2) or source is null
         ), linked as (
             update dead_letters d set previous = coalesce(d.previous, c.letter), replay = c.replay
             from closed c where d.letter = c.next
         ), letters as (
             update dead_letters l
             set state = c.state, outcome = c.outcome, closed_at = $3, closed_by = 'replay ' || c.replay
             from closed c
             where l.letter = c.letter and l.replay = c.replay and l.state || '' in ('replaying', 'open')
         )
         update replay_letters r set state = c.state, outcome = c.outcome, settled_at = $3
         from closed c where r.letter = c.letter and r.replay::text = c.replay::text",
        FOLLOWED_AT_ONCE,
        kinds_read,
        now,
    )
    .execute(pool)
    .await
    .doing("following replayed facts")?;
    Ok(followed.rows_affected())
}
