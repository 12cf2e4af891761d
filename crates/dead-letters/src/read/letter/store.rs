//! SQL of letters as operators see them.

use super::{GivenUp, LetterLine, LetterView, Try};
use crate::letter::AsItCame;
use crate::read::{Amount, AuditFilter, AuditLine, Filter, LetterState, audit, plain};
use bus::Attempt;
use db::{Doing, Error, PgConnection, Pool};
use domain::Cause;
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::types::Json;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// Letters by their age, the oldest first.
///
/// # Errors
/// Those of the database.
pub async fn letters(pool: &Pool, filter: &Filter, limit: i64) -> Result<Vec<LetterLine>, Error> {
    let rows = sqlx::query_as!(
        LetterRow,
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
    Ok(rows.into_iter().map(LetterLine::from).collect())
}

/// A row of the list of letters.
struct LetterRow {
    letter: Uuid,
    state: String,
    worker: String,
    fact_type: Option<String>,
    code: String,
    reason: String,
    fingerprint: String,
    fact: Option<String>,
    account: Option<String>,
    payment: Option<String>,
    amount: Option<Decimal>,
    currency: Option<String>,
    credits: Option<Decimal>,
    attempts: i32,
    copies: i32,
    dead_at: OffsetDateTime,
    outcome: Option<String>,
}

impl From<LetterRow> for LetterLine {
    fn from(row: LetterRow) -> Self {
        let money = row.amount.zip(row.currency.as_deref());
        Self {
            money: money.map(|(amount, currency)| Amount::new(amount, currency)),
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
            credits: row.credits.map(plain),
            attempts: row.attempts,
            copies: row.copies,
            dead_at: row.dead_at,
            outcome: row.outcome,
        }
    }
}

/// How many letters a filter means.
///
/// # Errors
/// Those of the database.
pub async fn count(pool: &Pool, filter: &Filter) -> Result<i64, Error> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from dead_letters_meant($1)"#, Json(filter) as _)
        .fetch_one(pool)
        .await
        .doing("counting dead letters")
}

/// The newest letter of a fact, by others than `workers`.
///
/// # Errors
/// Those of the database.
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
///
/// # Errors
/// Those of the database.
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

/// A letter with everything that is kept of it; nothing where there is none of this id.
///
/// # Errors
/// Those of the database.
pub async fn letter(pool: &Pool, letter: Uuid) -> Result<Option<LetterView>, Error> {
    let filter = Filter { states: LetterState::ALL.to_vec(), ..Filter::letter(letter) };
    let Some(line) = letters(pool, &filter, 1).await?.pop() else { return Ok(None) };
    let content = content(pool, letter).await?;
    let replays = tries(pool, letter).await?;
    let fingerprint = Some(line.fingerprint.clone());
    let of_letter = AuditFilter { id: Some(letter), by: None, fingerprint };
    let audit = audit(pool, &of_letter, AUDIT_MAX).await?;
    Ok(Some(content.view(line, replays, audit)))
}

/// Acts shown of one letter.
const AUDIT_MAX: i64 = 100;

/// What is stored of a letter and no list shows.
struct Content {
    queue: String,
    attempts: Json<Vec<Attempt>>,
    first_failed_at: OffsetDateTime,
    recorded_at: OffsetDateTime,
    exchange: String,
    routing_key: String,
    message_id: String,
    content_type: Option<String>,
    user_id: Option<String>,
    headers: Json<BTreeMap<String, String>>,
    body: Vec<u8>,
    traceparent: Option<String>,
    previous: Option<Uuid>,
    diff: Option<Value>,
    erased_at: Option<OffsetDateTime>,
    closed_at: Option<OffsetDateTime>,
    closed_by: Option<String>,
    unreadable: Option<Json<AsItCame>>,
    delivery_stored: bool,
    next: Vec<Uuid>,
}

impl Content {
    fn view(self, line: LetterLine, replays: Vec<Try>, audit: Vec<AuditLine>) -> LetterView {
        LetterView {
            line,
            queue: self.queue,
            attempts_made: self.attempts.0,
            first_failed_at: self.first_failed_at,
            recorded_at: self.recorded_at,
            exchange: self.exchange,
            routing_key: self.routing_key,
            message_id: self.message_id,
            content_type: self.content_type,
            user_id: self.user_id,
            headers: self.headers.0,
            body: self.body,
            unreadable: self.unreadable.map(|json| json.0),
            traceparent: self.traceparent,
            delivery_stored: self.delivery_stored,
            previous: self.previous,
            next: self.next,
            diff: self.diff,
            erased_at: self.erased_at,
            closed_at: self.closed_at,
            closed_by: self.closed_by,
            replays,
            audit,
        }
    }
}

async fn content(pool: &Pool, letter: Uuid) -> Result<Content, Error> {
    sqlx::query_as!(
        Content,
        r#"select queue, attempts as "attempts: Json<Vec<Attempt>>", first_failed_at, recorded_at, exchange, routing_key,
                  message_id, content_type, user_id, headers as "headers: Json<BTreeMap<String, String>>", body, traceparent,
                  previous, diff, erased_at, closed_at, closed_by, unreadable as "unreadable: Json<AsItCame>",
                  exists (select from raw_deliveries r where r.source = l.source and r.id = l.id) as "delivery_stored!",
                  array(select n.letter from dead_letters n where n.previous = l.letter order by n.letter) as "next!"
           from dead_letters l where letter = $1"#,
        letter,
    )
    .fetch_one(pool)
    .await
    .doing("reading a dead letter")
}

async fn tries(pool: &Pool, letter: Uuid) -> Result<Vec<Try>, Error> {
    sqlx::query_as!(
        Try,
        "select replay, state, outcome, published_at, settled_at from replay_letters where letter = $1 order by replay",
        letter,
    )
    .fetch_all(pool)
    .await
    .doing("reading a letter's replays")
}
