//! The spool: messages that RabbitMQ does not take now, stored until it does. Its table is called `kept_messages`.

use crate::error::{Doing, Error};
use sqlx::PgConnection;
use sqlx::types::Json;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// A message to be published later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpooledMessage {
    pub id: Uuid,
    pub exchange: String,
    pub routing_key: String,
    pub message_id: String,
    pub content_type: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// Stores messages. They are durable once the caller's transaction, or this statement alone, has committed.
///
/// # Errors
/// Where the statement fails: none is stored.
pub async fn put(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    messages: &[SpooledMessage],
) -> Result<(), Error> {
    let ids: Vec<Uuid> = messages.iter().map(|message| message.id).collect();
    let exchanges: Vec<&str> = messages.iter().map(|message| message.exchange.as_str()).collect();
    let keys: Vec<&str> = messages.iter().map(|message| message.routing_key.as_str()).collect();
    let message_ids: Vec<&str> = messages.iter().map(|message| message.message_id.as_str()).collect();
    let types: Vec<&str> = messages.iter().map(|message| message.content_type.as_str()).collect();
    let headers: Vec<Json<&BTreeMap<String, String>>> =
        messages.iter().map(|message| Json(&message.headers)).collect();
    let bodies: Vec<&[u8]> = messages.iter().map(|message| message.body.as_slice()).collect();
    sqlx::query!(
        "insert into kept_messages (id, kept_at, exchange, routing_key, message_id, content_type, headers, body)
         select id, $2, exchange, routing_key, message_id, content_type, headers, body
         from unnest($1::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::jsonb[], $8::bytea[])
           as m (id, exchange, routing_key, message_id, content_type, headers, body)",
        &ids,
        now,
        &exchanges as _,
        &keys as _,
        &message_ids as _,
        &types as _,
        &headers as _,
        &bodies as _,
    )
    .execute(connection)
    .await
    .doing("spooling messages")?;
    Ok(())
}

/// Up to `limit` of the oldest messages that no other transaction has claimed; locked until the transaction ends.
///
/// # Errors
/// Where the statement fails.
pub async fn claim(connection: &mut PgConnection, limit: i64) -> Result<Vec<SpooledMessage>, Error> {
    let rows = sqlx::query!(
        r#"select id, exchange, routing_key, message_id, content_type,
                  headers as "headers: Json<BTreeMap<String, String>>", body
           from kept_messages order by refusals, id limit $1 for update skip locked"#,
        limit,
    )
    .fetch_all(connection)
    .await
    .doing("claiming spooled messages")?;
    Ok(rows
        .into_iter()
        .map(|row| SpooledMessage {
            id: row.id,
            exchange: row.exchange,
            routing_key: row.routing_key,
            message_id: row.message_id,
            content_type: row.content_type,
            headers: row.headers.0,
            body: row.body,
        })
        .collect())
}

/// Deletes messages that are published and confirmed.
///
/// # Errors
/// Where the statement fails; then they are published again.
pub async fn published(connection: &mut PgConnection, ids: &[Uuid]) -> Result<(), Error> {
    sqlx::query!("delete from kept_messages where id = any($1)", ids)
        .execute(connection)
        .await
        .doing("deleting spooled messages")?;
    Ok(())
}

/// RabbitMQ answered and did not take them: from now on others are claimed before them.
///
/// # Errors
/// Where the statement fails.
pub async fn refused(connection: &mut PgConnection, ids: &[Uuid]) -> Result<(), Error> {
    sqlx::query!("update kept_messages set refusals = refusals + 1 where id = any($1)", ids)
        .execute(connection)
        .await
        .doing("setting spooled messages aside")?;
    Ok(())
}

/// How many messages are not known to be published.
///
/// # Errors
/// Where the statement fails.
pub async fn count(connection: &mut PgConnection) -> Result<i64, Error> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from kept_messages"#)
        .fetch_one(connection)
        .await
        .doing("counting spooled messages")
}
