//! The outbox: an event is committed with the change it reports, and published afterwards.
//!
//! One row stands for a batch of events that are not yet known to be published. The process that committed them publishes them
//! at once and deletes the row; what a crash left, [`claim`] finds. An event may so be published twice, never not at all.

use crate::error::{Doing, Error};
use crate::work::Work;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

pub use crate::event::StoredEvent;

/// Stores events and the outbox row that stands for them; returns the row's id, or `None` if there are no events.
///
/// # Errors
/// Where a statement fails: then nothing of the transaction may be committed.
pub async fn put(work: &mut Work, events: &[StoredEvent]) -> Result<Option<Uuid>, Error> {
    if events.is_empty() {
        return Ok(None);
    }
    let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
    store(work, &ids, events).await?;
    let id = Uuid::now_v7();
    sqlx::query!("insert into outbox (id, created_at, events) values ($1, $2, $3)", id, work.now, &ids)
        .execute(work.connection().await?)
        .await
        .doing("storing an outbox row")?;
    Ok(Some(id))
}

async fn store(work: &mut Work, ids: &[Uuid], events: &[StoredEvent]) -> Result<(), Error> {
    let accounts: Vec<Option<&str>> = events.iter().map(|event| event.account.as_deref()).collect();
    let sequences: Vec<Option<i64>> = events.iter().map(|event| event.sequence).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    let times: Vec<OffsetDateTime> = events.iter().map(|event| event.time).collect();
    let sources: Vec<&str> = events.iter().map(|event| event.source.as_str()).collect();
    let causes: Vec<&str> = events.iter().map(|event| event.cause.as_str()).collect();
    let traces: Vec<Option<&str>> = events.iter().map(|event| event.traceparent.as_deref()).collect();
    let data: Vec<&str> = events.iter().map(|event| event.data.0.get()).collect();
    let hashes: Vec<&[u8]> = events.iter().map(|event| event.hash.as_slice()).collect();
    sqlx::query!(
        "insert into events (id, account, sequence, type, time, source, cause, traceparent, data, hash)
         select id, account, sequence, type, time, source, cause, traceparent, data::json, hash
         from unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::timestamptz[], $6::text[], $7::text[],
                     $8::text[], $9::text[], $10::bytea[])
           as e (id, account, sequence, type, time, source, cause, traceparent, data, hash)",
        ids,
        &accounts as _,
        &sequences as _,
        &kinds as _,
        &times,
        &sources as _,
        &causes as _,
        &traces as _,
        &data as _,
        &hashes as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("storing events")?;
    Ok(())
}

/// A batch of events that are committed and not known to be published.
#[derive(Debug, Clone)]
pub struct OutboxRow {
    pub id: Uuid,
    pub events: Vec<Uuid>,
}

/// Deletes an outbox row: its events are published and confirmed. Safe to repeat.
///
/// # Errors
/// Where the statement fails; then the sweeper publishes the events again.
pub async fn settled(connection: &mut PgConnection, row: Uuid) -> Result<(), Error> {
    // Not worth waiting for the disk: a row that a crash brings back is published once more, and that is allowed.
    sqlx::query!(
        "with lazily as materialized (select set_config('synchronous_commit', 'off', true) as setting)
         delete from outbox using lazily where id = $1 and setting = 'off'",
        row,
    )
    .execute(connection)
    .await
    .doing("deleting an outbox row")?;
    Ok(())
}

/// The oldest row that was made before `before`, that no other transaction has claimed, and that is none of `others`. It stays
/// locked until the transaction ends.
///
/// # Errors
/// Where the statement fails.
pub async fn claim(
    connection: &mut PgConnection,
    before: OffsetDateTime,
    others: &[Uuid],
) -> Result<Option<OutboxRow>, Error> {
    sqlx::query_as!(
        OutboxRow,
        "select id, events from outbox where created_at < $1 and id <> all($2)
         order by created_at limit 1 for update skip locked",
        before,
        others,
    )
    .fetch_optional(connection)
    .await
    .doing("claiming an outbox row")
}

/// A row's events in the order in which they were emitted.
///
/// # Errors
/// [`Error::Stored`] where an event of the row is missing: the row must stay then.
pub async fn events(connection: &mut PgConnection, row: &OutboxRow) -> Result<Vec<StoredEvent>, Error> {
    // Ids of one batch were made in one moment and lie together: their range is what the block-range index finds.
    let events = sqlx::query_as!(
        StoredEvent,
        r#"with near as materialized (select * from events where id between $2 and $3)
           select id as "id!", source as "source!", account, sequence, type as "kind!", time as "time!",
                  cause as "cause!", traceparent, data as "data!: Json<Box<RawValue>>", hash as "hash!: _"
           from near where id = any($1) order by array_position($1::uuid[], id)"#,
        &row.events,
        row.events.iter().min(),
        row.events.iter().max(),
    )
    .fetch_all(connection)
    .await
    .doing("reading the events of an outbox row")?;
    // The row stays until every one of them is published.
    if events.len() != row.events.len() {
        let why = format!("expected {} events of row {}, found {}", row.events.len(), row.id, events.len());
        return Err(Error::Stored { what: "the outbox", why });
    }
    Ok(events)
}

/// How many events are committed and not known to be published.
///
/// # Errors
/// Where the statement fails.
pub async fn unpublished(connection: &mut PgConnection) -> Result<i64, Error> {
    sqlx::query_scalar!(r#"select coalesce(sum(cardinality(events)), 0) as "count!" from outbox"#)
        .fetch_one(connection)
        .await
        .doing("counting unpublished events")
}
