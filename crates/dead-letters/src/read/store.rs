//! SQL of what operators see.

use super::{Amount, Filter, Group, State};
use crate::letter::{AsItCame, Stored};
use bus::{Attempt, Incoming};
use db::{Doing, Error, PgConnection, Pool};
use domain::Cause;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// `bursar dlq list --json`: a letter in one line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LetterLine {
    pub letter: Uuid,
    pub state: String,
    pub worker: String,
    #[serde(rename = "type")]
    pub fact_type: Option<String>,
    pub code: String,
    pub reason: String,
    pub fingerprint: String,
    /// As causes are written: `paddle/evt_01h8...`.
    pub fact: Option<String>,
    pub account: Option<String>,
    pub payment: Option<String>,
    pub money: Option<Amount>,
    pub credits: Option<String>,
    pub attempts: i32,
    /// How often the same came.
    pub copies: i32,
    #[serde(with = "time::serde::rfc3339")]
    pub dead_at: OffsetDateTime,
    pub outcome: Option<String>,
}

/// Letters by their age, the oldest first.
pub async fn letters(pool: &Pool, filter: &Filter, limit: i64) -> Result<Vec<LetterLine>, Error> {
    let rows = sqlx::query!(
        r#"select letter as "letter!", state as "state!", worker as "worker!", fact_type, code as "code!",
                  left(reason, 500) as "reason!", fingerprint as "fingerprint!", source || '/' || id as fact, account, payment,
                  amount, currency, credits, json_array_length(attempts) as "attempts!", copies as "copies!",
                  dead_at as "dead_at!", outcome
           from dead_letters_meant($1) order by first_failed_at, dead_at, letter limit $2"#,
        Json(filter) as _,
        limit,
    )
    .fetch_all(pool)
    .await
    .doing("listing dead letters")?;
    Ok(rows
        .into_iter()
        .map(|row| LetterLine {
            letter: row.letter,
            state: row.state,
            worker: row.worker,
            fact_type: row.fact_type,
            code: row.code,
            reason: row.reason,
            fingerprint: row.fingerprint,
            fact: row.fact,
            account: row.account,
            payment: row.payment,
            money: amount(row.amount, row.currency.as_deref()),
            credits: row.credits.map(plain),
            attempts: row.attempts,
            copies: row.copies,
            dead_at: row.dead_at,
            outcome: row.outcome,
        })
        .collect())
}

pub async fn count(pool: &Pool, filter: &Filter) -> Result<i64, Error> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from dead_letters_meant($1)"#, Json(filter) as _)
        .fetch_one(pool)
        .await
        .doing("counting dead letters")
}

/// A letter of a fact, as far as it says why nothing came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    pub letter: Uuid,
    pub worker: String,
    pub code: String,
    pub reason: String,
}

/// The newest letter of a fact, by others than `workers`.
pub async fn given_up(
    connection: &mut PgConnection,
    cause: &Cause,
    workers: &[&str],
) -> Result<Option<GivenUp>, Error> {
    sqlx::query_as!(
        GivenUp,
        "select letter, worker, code, reason from dead_letters
         where source = $1 and id = $2 and worker <> all($3) order by recorded_at desc limit 1",
        cause.source,
        cause.id,
        workers as _,
    )
    .fetch_optional(connection)
    .await
    .doing("looking for a fact's letter")
}

/// How often each of these facts has come as a dead letter so far; those that never did are left out.
pub async fn copies(pool: &Pool, causes: &[Cause]) -> Result<BTreeMap<Cause, i64>, Error> {
    let sources: Vec<&str> = causes.iter().map(|cause| cause.source.as_str()).collect();
    let ids: Vec<&str> = causes.iter().map(|cause| cause.id.as_str()).collect();
    let rows = sqlx::query!(
        r#"select source as "source!", id as "id!", sum(copies) as "copies!" from dead_letters
           where (source, id) in (select * from unnest($1::text[], $2::text[])) group by source, id"#,
        &sources as _,
        &ids as _,
    )
    .fetch_all(pool)
    .await
    .doing("counting facts' dead letters")?;
    Ok(rows.into_iter().map(|row| (Cause { source: row.source, id: row.id }, row.copies)).collect())
}

fn amount(amount: Option<Decimal>, currency: Option<&str>) -> Option<Amount> {
    Some(Amount::new(amount?, currency?))
}

fn plain(decimal: Decimal) -> String {
    decimal.normalize().to_string()
}

/// Kinds of failures, the largest first.
pub async fn groups(pool: &Pool, filter: &Filter, limit: i64) -> Result<Vec<Group>, Error> {
    let rows = sqlx::query!(
        r#"with meant as (
               select fingerprint, dead_at, account, amount, currency, credits from dead_letters_meant($1)
           ), counted as (
               select fingerprint, count(*) as count, min(dead_at) as first, max(dead_at) as last,
                      count(distinct account) as accounts, coalesce(sum(credits), 0) as credits
               from meant group by fingerprint
           ), money as (
               select fingerprint, json_agg(json_build_array(currency, amount::text) order by currency) as sums
               from (select fingerprint, currency, sum(amount) as amount from meant where currency is not null
                     group by fingerprint, currency) s
               group by fingerprint
           )
           select c.fingerprint as "fingerprint!", f.worker, f.fact_type, f.code, left(f.reason, 500) as "reason!",
                  c.count as "count!", c.first as "first!", c.last as "last!", c.accounts as "accounts!",
                  c.credits as "credits!", m.sums as "sums?: Json<Vec<(String, Decimal)>>",
                  (select count(*) from dead_letter_audit a where a.fingerprint = c.fingerprint and a.action = 'note') as "notes!"
           from counted c join fingerprints f using (fingerprint) left join money m using (fingerprint)
           order by c.count desc, c.fingerprint limit $2"#,
        Json(filter) as _,
        limit,
    )
    .fetch_all(pool)
    .await
    .doing("grouping dead letters")?;
    Ok(rows
        .into_iter()
        .map(|row| Group {
            fingerprint: row.fingerprint,
            worker: row.worker,
            fact_type: row.fact_type,
            code: row.code,
            reason: row.reason,
            count: row.count,
            first: row.first,
            last: row.last,
            accounts: row.accounts,
            money: row
                .sums
                .into_iter()
                .flat_map(|sums| sums.0)
                .map(|(currency, amount)| Amount::new(amount, &currency))
                .collect(),
            credits: plain(row.credits),
            notes: row.notes,
        })
        .collect())
}

/// How many kinds of failures there are.
pub async fn count_groups(pool: &Pool, filter: &Filter) -> Result<i64, Error> {
    sqlx::query_scalar!(
        r#"select count(distinct fingerprint) as "count!" from dead_letters_meant($1)"#,
        Json(filter) as _,
    )
    .fetch_one(pool)
    .await
    .doing("counting kinds of dead letters")
}

/// A letter as it is put back into its queue, or planned as if it were.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    pub letter: Uuid,
    pub state: State,
    /// Without the namespace.
    pub queue: String,
    pub worker: String,
    pub code: String,
    pub reason: String,
    pub fact: Option<String>,
    pub fingerprint: String,
    pub account: Option<String>,
    pub payment: Option<String>,
    pub traceparent: Option<String>,
    pub attempts: Vec<Attempt>,
    pub first_failed_at: OffsetDateTime,
    pub dead_at: OffsetDateTime,
    /// Which letter this one was before, and what an edit changed of it.
    pub previous: Option<Uuid>,
    pub diff: Option<Value>,
    pub message: Incoming,
    /// What of the message could not be read.
    pub unreadable: Option<AsItCame>,
}

/// The messages of letters, the oldest first.
pub async fn stored(
    connection: &mut PgConnection,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<StoredMessage>, Error> {
    stored_after(connection, filter, None, limit).await
}

/// The messages of letters that are younger than this one.
pub async fn stored_after(
    connection: &mut PgConnection,
    filter: &Filter,
    after: Option<&StoredMessage>,
    limit: i64,
) -> Result<Vec<StoredMessage>, Error> {
    let rows = sqlx::query!(
        r#"select letter as "letter!", state as "state!", queue as "queue!", worker as "worker!", code as "code!",
                  reason as "reason!", source || '/' || id as fact, dead_at as "dead_at!",
                  exchange as "exchange!", routing_key as "routing_key!", message_id as "message_id!", content_type, user_id,
                  headers as "headers!: Json<BTreeMap<String, String>>", body as "body!", first_failed_at as "first_failed_at!",
                  fingerprint as "fingerprint!", account, payment, traceparent, attempts as "attempts!: Json<Vec<Attempt>>",
                  previous, diff, unreadable as "unreadable: Json<AsItCame>"
           from dead_letters_meant($1)
           where $3::timestamptz is null or (first_failed_at, dead_at, letter) > ($3, $4::timestamptz, $5::uuid)
           order by first_failed_at, dead_at, letter limit $2"#,
        Json(filter) as _,
        limit,
        after.map(|after| after.first_failed_at),
        after.map(|after| after.dead_at),
        after.map(|after| after.letter),
    )
    .fetch_all(connection)
    .await
    .doing("reading the messages of dead letters")?;
    rows.into_iter()
        .map(|row| {
            Ok(StoredMessage {
                letter: row.letter,
                state: row.state.parse().map_err(|why: String| Error::stored("a letter's state", why))?,
                queue: row.queue,
                worker: row.worker,
                code: row.code,
                reason: row.reason,
                fact: row.fact,
                fingerprint: row.fingerprint,
                account: row.account,
                payment: row.payment,
                traceparent: row.traceparent,
                attempts: row.attempts.0,
                dead_at: row.dead_at,
                first_failed_at: row.first_failed_at,
                previous: row.previous,
                diff: row.diff,
                unreadable: row.unreadable.map(|json| json.0),
                message: Stored {
                    exchange: row.exchange,
                    routing_key: row.routing_key,
                    message_id: row.message_id,
                    content_type: row.content_type,
                    user_id: row.user_id,
                    headers: row.headers.0,
                    body: row.body,
                }
                .message(row.first_failed_at, None),
            })
        })
        .collect()
}

/// `bursar dlq show --json`: a letter with everything that is kept of it.
#[derive(Debug, Clone, Serialize)]
pub struct LetterView {
    #[serde(flatten)]
    pub line: LetterLine,
    /// In which it lay, without the namespace.
    pub queue: String,
    pub attempts_made: Vec<Attempt>,
    #[serde(with = "time::serde::rfc3339")]
    pub first_failed_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub recorded_at: OffsetDateTime,
    pub exchange: String,
    pub routing_key: String,
    pub message_id: String,
    pub content_type: Option<String>,
    pub user_id: Option<String>,
    pub headers: BTreeMap<String, String>,
    /// As it came; JSON has it as text, in the words of whoever shows it.
    #[serde(skip)]
    pub body: Vec<u8>,
    /// What of it could not be read.
    pub unreadable: Option<AsItCame>,
    pub traceparent: Option<String>,
    /// The stored delivery that it came from is there: see `bursar delivery show`.
    pub delivery_stored: bool,
    /// Which letter this one was before, and what it became.
    pub previous: Option<Uuid>,
    pub next: Vec<Uuid>,
    /// What an edit changed.
    pub diff: Option<Value>,
    /// Since when body and headers are gone for good.
    #[serde(with = "time::serde::rfc3339::option")]
    pub erased_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub closed_at: Option<OffsetDateTime>,
    pub closed_by: Option<String>,
    pub replays: Vec<Try>,
    pub audit: Vec<AuditLine>,
}

/// A replay that had the letter in hand.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Try {
    pub replay: Uuid,
    pub state: String,
    pub outcome: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub published_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub settled_at: Option<OffsetDateTime>,
}

pub async fn letter(pool: &Pool, letter: Uuid) -> Result<Option<LetterView>, Error> {
    let filter = Filter { states: State::ALL.to_vec(), ..Filter::letter(letter) };
    let Some(line) = letters(pool, &filter, 1).await?.pop() else { return Ok(None) };
    let row = sqlx::query!(
        r#"select queue, attempts as "attempts: Json<Vec<Attempt>>", first_failed_at, recorded_at, exchange, routing_key,
                  message_id, content_type, user_id, headers as "headers: Json<BTreeMap<String, String>>", body, traceparent,
                  previous, diff, erased_at, closed_at, closed_by, source, id, unreadable as "unreadable: Json<AsItCame>",
                  exists (select from raw_deliveries r where r.source = l.source and r.id = l.id) as "delivery_stored!",
                  array(select n.letter from dead_letters n where n.previous = l.letter order by n.letter) as "next!"
           from dead_letters l where letter = $1"#,
        letter,
    )
    .fetch_one(pool)
    .await
    .doing("reading a dead letter")?;
    let replays = sqlx::query_as!(
        Try,
        "select replay, state, outcome, published_at, settled_at from replay_letters where letter = $1 order by replay",
        letter,
    )
    .fetch_all(pool)
    .await
    .doing("reading a letter's replays")?;
    let audit = audit(
        pool,
        &AuditFilter { id: Some(letter), by: None, fingerprint: Some(line.fingerprint.clone()) },
        100,
    )
    .await?;
    Ok(Some(LetterView {
        line,
        queue: row.queue,
        attempts_made: row.attempts.0,
        first_failed_at: row.first_failed_at,
        recorded_at: row.recorded_at,
        exchange: row.exchange,
        routing_key: row.routing_key,
        message_id: row.message_id,
        content_type: row.content_type,
        user_id: row.user_id,
        headers: row.headers.0,
        body: row.body,
        unreadable: row.unreadable.map(|json| json.0),
        traceparent: row.traceparent,
        delivery_stored: row.delivery_stored,
        previous: row.previous,
        next: row.next,
        diff: row.diff,
        erased_at: row.erased_at,
        closed_at: row.closed_at,
        closed_by: row.closed_by,
        replays,
        audit,
    }))
}

/// `bursar dlq replays --json`: a replay and how far it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReplayLine {
    pub replay: Uuid,
    pub state: String,
    pub by: String,
    pub reason: Option<String>,
    pub filter: Value,
    pub total: i32,
    pub canary: Option<i32>,
    /// Messages a second.
    pub rate: Option<f64>,
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
    /// Not yet put back.
    pub waiting: i64,
    /// Put back, and their outcome is not known.
    pub published: i64,
    pub resolved: i64,
    pub dead_again: i64,
    /// Given back: open again without an outcome.
    pub released: i64,
    /// Why, and how many for each reason.
    pub released_why: Option<Value>,
}

/// The latest replays first, or the one.
pub async fn replays(pool: &Pool, replay: Option<Uuid>, limit: i64) -> Result<Vec<ReplayLine>, Error> {
    sqlx::query_as!(
        ReplayLine,
        r#"select r.replay, r.state, r.by, r.reason, r.filter, r.total, r.canary, r.rate, r.started_at, r.ended_at,
                  c.waiting as "waiting!", c.published as "published!", c.resolved as "resolved!", c.dead_again as "dead_again!",
                  c.released as "released!", w.why as released_why
           from (select * from replays where $1::uuid is null or replay = $1 order by replay desc limit $2) r
           cross join lateral (
               select count(*) filter (where state = 'waiting') as waiting,
                      count(*) filter (where state = 'published') as published,
                      count(*) filter (where state = 'resolved') as resolved,
                      count(*) filter (where state = 'dead_again') as dead_again,
                      count(*) filter (where state = 'released') as released
               from replay_letters l where l.replay = r.replay) c
           cross join lateral (
               select json_object_agg(outcome, count) as why
               from (select outcome, count(*) from replay_letters l
                     where l.replay = r.replay and state = 'released' group by outcome) w) w
           order by r.replay desc"#,
        replay,
        limit,
    )
    .fetch_all(pool)
    .await
    .doing("listing replays")
}

/// `bursar dlq audit --json`: one thing that was done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditLine {
    pub number: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub by: String,
    pub action: String,
    pub letter: Option<Uuid>,
    pub fingerprint: Option<String>,
    pub replay: Option<Uuid>,
    pub filter: Option<Value>,
    pub letters: Option<i32>,
    pub reason: Option<String>,
    pub result: Option<Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// A letter's, or a replay's.
    pub id: Option<Uuid>,
    pub fingerprint: Option<String>,
    pub by: Option<String>,
}

/// The latest first. A letter's are also those on many of which it was one, those of the replays that had it in hand, and, of
/// its kind, the notes.
pub async fn audit(pool: &Pool, filter: &AuditFilter, limit: i64) -> Result<Vec<AuditLine>, Error> {
    sqlx::query_as!(
        AuditLine,
        "select number, at, by, action, letter, fingerprint, replay, filter, letters, reason, result
         from dead_letter_audit
         where ($1::uuid is null and $2::text is null
                or letter = $1 or replay = $1 or number in (select number from dead_letter_audit_letters where letter = $1)
                or replay in (select replay from replay_letters where letter = $1)
                or fingerprint = $2 and ($1 is null or action = 'note')
                or $1 is null and replay in (select replay from dead_letter_audit where fingerprint = $2))
           and ($3::text is null or by = $3)
         order by number desc limit $4",
        filter.id,
        filter.fingerprint,
        filter.by,
        limit,
    )
    .fetch_all(pool)
    .await
    .doing("reading the audit")
}

/// Open letters of one worker and code, for metrics. The oldest is what failed first.
#[derive(Debug, Clone, PartialEq)]
pub struct Gauge {
    pub worker: String,
    pub code: String,
    pub open: i64,
    pub oldest: OffsetDateTime,
}

/// What is open, by worker and code; and the money and credits at stake, by unit.
pub async fn gauges(connection: &mut PgConnection) -> Result<(Vec<Gauge>, Vec<(String, Decimal)>), Error> {
    Ok((open(connection).await?, at_stake(connection).await?))
}

async fn open(connection: &mut PgConnection) -> Result<Vec<Gauge>, Error> {
    sqlx::query_as!(
        Gauge,
        r#"select worker, code, count(*) as "open!", min(first_failed_at) as "oldest!"
           from dead_letters where closed_at is null group by worker, code"#,
    )
    .fetch_all(connection)
    .await
    .doing("counting open dead letters")
}

/// What hangs on open letters: money by currency, and credits as `credits`.
pub(crate) async fn at_stake(connection: &mut PgConnection) -> Result<Vec<(String, Decimal)>, Error> {
    let at_stake = sqlx::query!(
        r#"select currency as "unit!", sum(amount) as "sum!" from dead_letters
           where closed_at is null and currency is not null group by currency
           union all
           select 'credits', sum(credits) from dead_letters
           where closed_at is null and credits is not null having count(*) > 0"#,
    )
    .fetch_all(connection)
    .await
    .doing("adding up what is at stake")?;
    Ok(at_stake.into_iter().map(|row| (row.unit, row.sum)).collect())
}
