//! SQL of the messages that letters keep.

use super::StoredMessage;
use crate::letter::{AsItCame, Stored};
use crate::read::Filter;
use bus::Attempt;
use db::{Doing, Error, PgConnection};
use serde_json::Value;
use sqlx::types::Json;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// The messages of letters, the oldest first.
///
/// # Errors
/// Those of the database. One of them says that a stored state is unknown.
pub async fn stored(
    connection: &mut PgConnection,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<StoredMessage>, Error> {
    stored_after(connection, filter, None, limit).await
}

/// The messages of letters that are younger than this one.
///
/// # Errors
/// As of [`stored`].
pub async fn stored_after(
    connection: &mut PgConnection,
    filter: &Filter,
    after: Option<&StoredMessage>,
    limit: i64,
) -> Result<Vec<StoredMessage>, Error> {
    let rows = sqlx::query_as!(
        MessageRow,
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
    rows.into_iter().map(MessageRow::message).collect()
}

/// A letter's row, as far as it is put back or exported.
struct MessageRow {
    letter: Uuid,
    state: String,
    queue: String,
    worker: String,
    code: String,
    reason: String,
    fact: Option<String>,
    dead_at: OffsetDateTime,
    exchange: String,
    routing_key: String,
    message_id: String,
    content_type: Option<String>,
    user_id: Option<String>,
    headers: Json<BTreeMap<String, String>>,
    body: Vec<u8>,
    first_failed_at: OffsetDateTime,
    fingerprint: String,
    account: Option<String>,
    payment: Option<String>,
    traceparent: Option<String>,
    attempts: Json<Vec<Attempt>>,
    previous: Option<Uuid>,
    diff: Option<Value>,
    unreadable: Option<Json<AsItCame>>,
}

impl MessageRow {
    fn message(self) -> Result<StoredMessage, Error> {
        let stored = Stored {
            exchange: self.exchange,
            routing_key: self.routing_key,
            message_id: self.message_id,
            content_type: self.content_type,
            user_id: self.user_id,
            headers: self.headers.0,
            body: self.body,
        };
        Ok(StoredMessage {
            letter: self.letter,
            state: self.state.parse().map_err(|why: String| Error::stored("a letter's state", why))?,
            queue: self.queue,
            worker: self.worker,
            code: self.code,
            reason: self.reason,
            fact: self.fact,
            fingerprint: self.fingerprint,
            account: self.account,
            payment: self.payment,
            traceparent: self.traceparent,
            attempts: self.attempts.0,
            dead_at: self.dead_at,
            first_failed_at: self.first_failed_at,
            previous: self.previous,
            diff: self.diff,
            unreadable: self.unreadable.map(|json| json.0),
            message: stored.message(self.first_failed_at, None),
        })
    }
}
