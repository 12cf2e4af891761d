//! The outbox: an event is committed with the state it tells of, and published afterwards.
//!
//! One row stands for a batch of events that are not yet known to be published. Whoever committed them publishes them
//! at once and deletes the row; what a crash left, [`claim`] finds. An event may so be published twice, never not at all.

use crate::{Doing, Error, Work};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// An event as it will be published: the body is a CloudEvent in structured JSON mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    pub id: Uuid,
    pub account: Option<String>,
    pub sequence: Option<i64>,
    pub kind: String,
    pub time: OffsetDateTime,
    pub body: String,
}

/// Stores events and the outbox row that stands for them; returns the row's id, or nothing where there are no events.
pub async fn put(work: &mut Work, events: &[StoredEvent]) -> Result<Option<Uuid>, Error> {
    if events.is_empty() {
        return Ok(None);
    }
    let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
    let accounts: Vec<Option<&str>> = events.iter().map(|event| event.account.as_deref()).collect();
    let sequences: Vec<Option<i64>> = events.iter().map(|event| event.sequence).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    let times: Vec<OffsetDateTime> = events.iter().map(|event| event.time).collect();
    let bodies: Vec<&str> = events.iter().map(|event| event.body.as_str()).collect();
    sqlx::query!(
        "insert into events (id, account, sequence, type, time, body)
         select * from unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::timestamptz[], $6::text[])",
        &ids,
        &accounts as _,
        &sequences as _,
        &kinds as _,
        &times,
        &bodies as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("storing events")?;
    let id = Uuid::now_v7();
    sqlx::query!("insert into outbox (id, created_at, events) values ($1, $2, $3)", id, work.now, &ids)
        .execute(work.connection().await?)
        .await
        .doing("storing an outbox row")?;
    Ok(Some(id))
}

/// The events of that outbox row are published and confirmed. Safe to repeat.
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

/// The oldest row that was made before `before` and that nobody else has claimed, with its events in the order they
/// were emitted. The row stays locked until the transaction ends.
pub async fn claim(
    connection: &mut PgConnection,
    before: OffsetDateTime,
) -> Result<Option<(Uuid, Vec<StoredEvent>)>, Error> {
    let row = sqlx::query!(
        "select id, events from outbox where created_at < $1 order by created_at limit 1 for update skip locked",
        before,
    )
    .fetch_optional(&mut *connection)
    .await
    .doing("claiming an outbox row")?;
    let Some(row) = row else { return Ok(None) };
    let events = sqlx::query_as!(
        StoredEvent,
        r#"select id, account, sequence, type as kind, time, body from events where id = any($1)
           order by array_position($1::uuid[], id)"#,
        &row.events,
    )
    .fetch_all(connection)
    .await
    .doing("reading the events of an outbox row")?;
    Ok(Some((row.id, events)))
}

/// How many events are committed and not known to be published.
pub async fn unpublished(connection: &mut PgConnection) -> Result<i64, Error> {
    sqlx::query_scalar!(r#"select coalesce(sum(cardinality(events)), 0) as "count!" from outbox"#)
        .fetch_one(connection)
        .await
        .doing("counting unpublished events")
}
