//! The gate's SQL: the inbox, and raw bodies apart from it.

use crate::{Candidate, UnrecognisedDelivery};
use db::{Doing, Error, PgConnection, Work};
use domain::Cause;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// What the inbox holds of an identity that came again.
pub(crate) struct Admitted {
    pub kind: String,
    pub hash: Vec<u8>,
    pub fact: String,
    /// Its texts, or those of an addition, were erased: what they said is no longer known.
    pub is_erased: bool,
    /// The body of its delivery. Absent once its retention is over or it was erased.
    pub raw: Option<RawBody>,
    /// What other renderings added to it, each with all before it. Read by [`additions`].
    pub additions: Vec<String>,
}

impl Admitted {
    /// What [`recognise`] makes of the row.
    pub fn recognise(&mut self, candidate: &Candidate) {
        candidate.envelope.fact.kind().as_str().clone_into(&mut self.kind);
        self.hash = candidate.hash.to_vec();
        self.fact.clone_from(&candidate.canonical);
    }

    /// Whether anything needs a second look of what came under its identity.
    pub fn differs(&self, candidate: &Candidate) -> bool {
        self.hash != candidate.hash
    }
}

/// A delivery's body as it came.
pub struct RawBody {
    pub body: Vec<u8>,
    pub received_at: OffsetDateTime,
}

/// Inserts candidates, sorted and without repeats among themselves; returns the identities that were new.
pub(crate) async fn insert(work: &mut Work, candidates: &[&Candidate]) -> Result<BTreeSet<Cause>, Error> {
    let now = work.now;
    let sources: Vec<&str> = candidates.iter().map(|c| c.envelope.cause.source.as_str()).collect();
    let ids: Vec<&str> = candidates.iter().map(|c| c.envelope.cause.id.as_str()).collect();
    let kinds: Vec<&str> = candidates.iter().map(|c| c.envelope.fact.kind().as_str()).collect();
    let hashes: Vec<&[u8]> = candidates.iter().map(|c| c.hash.as_slice()).collect();
    let facts: Vec<&str> = candidates.iter().map(|c| c.canonical.as_str()).collect();
    let times: Vec<OffsetDateTime> = candidates.iter().map(|c| c.envelope.time).collect();
    let adds_to: Vec<Option<&str>> = candidates.iter().map(|c| c.adds_to.as_deref()).collect();
    let fresh = sqlx::query!(
        "insert into inbox (source, id, kind, hash, fact, time, admitted_at, adds_to)
         select source, id, kind, hash, fact, time, $7, adds_to
         from unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::timestamptz[], $8::text[])
           as c (source, id, kind, hash, fact, time, adds_to)
         on conflict do nothing
         returning source, id",
        &sources as _,
        &ids as _,
        &kinds as _,
        &hashes as _,
        &facts as _,
        &times,
        now,
        &adds_to as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("admitting facts")?;
    let fresh: BTreeSet<Cause> =
        fresh.into_iter().map(|row| Cause { source: row.source, id: row.id }).collect();
    let admitted: Vec<&Candidate> =
        candidates.iter().copied().filter(|c| fresh.contains(&c.envelope.cause)).collect();
    keep_raw(work, &admitted).await?;
    Ok(fresh)
}

async fn keep_raw(work: &mut Work, admitted: &[&Candidate]) -> Result<(), Error> {
    let now = work.now;
    let with_raw: Vec<(&Cause, &[u8], OffsetDateTime)> = admitted
        .iter()
        .filter_map(|c| {
            let raw = c.envelope.raw.as_ref()?;
            Some((&c.envelope.cause, raw.body.as_slice(), c.envelope.received_at.unwrap_or(now)))
        })
        .collect();
    if with_raw.is_empty() {
        return Ok(());
    }
    let sources: Vec<&str> = with_raw.iter().map(|(cause, ..)| cause.source.as_str()).collect();
    let ids: Vec<&str> = with_raw.iter().map(|(cause, ..)| cause.id.as_str()).collect();
    let bodies: Vec<&[u8]> = with_raw.iter().map(|(_, body, _)| *body).collect();
    let times: Vec<OffsetDateTime> = with_raw.iter().map(|(.., at)| *at).collect();
    sqlx::query!(
        "insert into raw_deliveries (source, id, body, received_at)
         select * from unnest($1::text[], $2::text[], $3::bytea[], $4::timestamptz[])
         on conflict do nothing",
        &sources as _,
        &ids as _,
        &bodies as _,
        &times,
    )
    .execute(work.connection().await?)
    .await
    .doing("keeping raw bodies")?;
    Ok(())
}

/// What was admitted under identities that came again; locked, so that transactions that count them, or add to them, do so in
/// one order. A further fact of a delivery (`<event id>:<kind>:<object id>`) has its body with the event's own.
pub(crate) async fn admitted(
    work: &mut Work,
    repeats: &[&Cause],
) -> Result<BTreeMap<Cause, Admitted>, Error> {
    if repeats.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sources: Vec<&str> = repeats.iter().map(|cause| cause.source.as_str()).collect();
    let ids: Vec<&str> = repeats.iter().map(|cause| cause.id.as_str()).collect();
    let rows = sqlx::query!(
        r#"select i.source, i.id, i.kind, i.hash, i.fact, i.erased_at is not null as "is_erased!",
                  raw.body as "body?", raw.received_at as "received_at?"
           from inbox i left join lateral (
             select body, received_at from raw_deliveries r
             where r.source = i.source and r.id in (i.id, split_part(i.id, ':', 1)) order by r.id = i.id desc limit 1
           ) raw on true
           where (i.source, i.id) in (select * from unnest($1::text[], $2::text[]))
           order by i.source, i.id
           for update of i"#,
        &sources as _,
        &ids as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("reading what was admitted")?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let raw = row.body.zip(row.received_at).map(|(body, received_at)| RawBody { body, received_at });
            let (is_erased, additions) = (row.is_erased, Vec::new());
            let admitted =
                Admitted { kind: row.kind, hash: row.hash, fact: row.fact, is_erased, raw, additions };
            (Cause { source: row.source, id: row.id }, admitted)
        })
        .collect())
}

/// Completes what was admitted by what other renderings added to it, of identities that [`admitted`] has locked.
pub(crate) async fn additions(
    work: &mut Work,
    known: &mut BTreeMap<Cause, Admitted>,
    of: &BTreeSet<&Cause>,
) -> Result<(), Error> {
    if of.is_empty() {
        return Ok(());
    }
    let sources: Vec<&str> = of.iter().map(|cause| cause.source.as_str()).collect();
    let ids: Vec<&str> = of.iter().map(|cause| cause.id.as_str()).collect();
    let rows = sqlx::query!(
        r#"select i.source, i.adds_to as "id!", i.fact, i.erased_at is not null as "is_erased!" from inbox i
           where i.adds_to is not null and (i.source, i.adds_to) in (select * from unnest($1::text[], $2::text[]))
           order by i.source, i.adds_to, i.id"#,
        &sources as _,
        &ids as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("reading what other renderings added")?;
    for row in rows {
        if let Some(admitted) = known.get_mut(&Cause { source: row.source, id: row.id }) {
            admitted.is_erased |= row.is_erased;
            admitted.additions.push(row.fact);
        }
    }
    Ok(())
}

/// Says what unrecognised deliveries turned out to be, each once, of identities that [`admitted`] has locked. What is
/// recognised already stays as it is. The time is that of the fact: a better translation may read a better one.
pub(crate) async fn recognise(work: &mut Work, recognised: &[&Candidate]) -> Result<(), Error> {
    if recognised.is_empty() {
        return Ok(());
    }
    let now = work.now;
    let sources: Vec<&str> = recognised.iter().map(|c| c.envelope.cause.source.as_str()).collect();
    let ids: Vec<&str> = recognised.iter().map(|c| c.envelope.cause.id.as_str()).collect();
    let kinds: Vec<&str> = recognised.iter().map(|c| c.envelope.fact.kind().as_str()).collect();
    let hashes: Vec<&[u8]> = recognised.iter().map(|c| c.hash.as_slice()).collect();
    let facts: Vec<&str> = recognised.iter().map(|c| c.canonical.as_str()).collect();
    let times: Vec<OffsetDateTime> = recognised.iter().map(|c| c.envelope.time).collect();
    sqlx::query!(
        "update inbox i set kind = r.kind, hash = r.hash, fact = r.fact, time = r.time, recognised_at = $7
         from unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::timestamptz[])
           as r (source, id, kind, hash, fact, time)
         where i.source = r.source and i.id = r.id and i.kind = 'fact.unrecognised'",
        &sources as _,
        &ids as _,
        &kinds as _,
        &hashes as _,
        &facts as _,
        &times,
        now,
    )
    .execute(work.connection().await?)
    .await
    .doing("recognising facts")?;
    Ok(())
}

/// Counts those that said what was admitted, of identities that [`admitted`] has locked.
pub(crate) async fn count_repeats(work: &mut Work, repeats: &[&Candidate]) -> Result<(), Error> {
    if repeats.is_empty() {
        return Ok(());
    }
    let mut counts: BTreeMap<&Cause, i32> = BTreeMap::new();
    for candidate in repeats {
        *counts.entry(&candidate.envelope.cause).or_default() += 1;
    }
    let sources: Vec<&str> = counts.keys().map(|cause| cause.source.as_str()).collect();
    let ids: Vec<&str> = counts.keys().map(|cause| cause.id.as_str()).collect();
    let counts: Vec<i32> = counts.values().copied().collect();
    sqlx::query!(
        "update inbox i set repeats = i.repeats + r.count
         from unnest($1::text[], $2::text[], $3::int[]) as r (source, id, count)
         where i.source = r.source and i.id = r.id",
        &sources as _,
        &ids as _,
        &counts,
    )
    .execute(work.connection().await?)
    .await
    .doing("counting repeats")?;
    Ok(())
}

/// Deletes raw bodies received before `before`, up to `limit` of them; returns how many.
///
/// # Errors
/// Those of the database.
pub async fn purge(connection: &mut PgConnection, before: OffsetDateTime, limit: i64) -> Result<u64, Error> {
    let deleted = sqlx::query!(
        "delete from raw_deliveries where (source, id) in
           (select source, id from raw_deliveries where received_at < $1 order by received_at limit $2)",
        before,
        limit,
    )
    .execute(connection)
    .await
    .doing("purging raw bodies")?;
    Ok(deleted.rows_affected())
}

/// Erases one delivery's raw body; its fact and everything proved by it stay. Tells whether there was one.
///
/// # Errors
/// Those of the database.
pub async fn erase(connection: &mut PgConnection, cause: &Cause) -> Result<bool, Error> {
    let deleted =
        sqlx::query!("delete from raw_deliveries where source = $1 and id = $2", cause.source, cause.id)
            .execute(connection)
            .await
            .doing("erasing a raw body")?;
    Ok(deleted.rows_affected() > 0)
}

/// The stored body of a delivery; `None` if it is unknown, or no body is stored.
///
/// # Errors
/// Those of the database.
pub async fn raw_body(connection: &mut PgConnection, cause: &Cause) -> Result<Option<RawBody>, Error> {
    sqlx::query_as!(
        RawBody,
        "select body, received_at from raw_deliveries where source = $1 and id = $2",
        cause.source,
        cause.id,
    )
    .fetch_optional(connection)
    .await
    .doing("reading a raw body")
}

/// Which unrecognised deliveries to look at; all of them where nothing is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnrecognisedFilter {
    pub processor: Option<String>,
    /// The processor's own name of the event.
    pub event_type: Option<String>,
    /// Only these, each by its id or as causes are written. None named: all of them.
    pub ids: Vec<String>,
}

/// How far a list of unrecognised deliveries has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnrecognisedPlace {
    admitted_at: OffsetDateTime,
    cause: Cause,
}

impl UnrecognisedPlace {
    /// Before the oldest of them.
    pub fn beginning() -> Self {
        let cause = Cause { source: String::new(), id: String::new() };
        Self { admitted_at: OffsetDateTime::UNIX_EPOCH, cause }
    }

    pub fn after(delivery: &UnrecognisedDelivery) -> Self {
        Self { admitted_at: delivery.admitted_at, cause: delivery.cause.clone() }
    }
}

/// Unrecognised deliveries with their bodies, the oldest first, at most `limit` of those after `place`. A body may have a
/// megabyte.
///
/// # Errors
/// Those of the database.
pub async fn unrecognised(
    connection: &mut PgConnection,
    filter: &UnrecognisedFilter,
    place: &UnrecognisedPlace,
    limit: i64,
) -> Result<Vec<UnrecognisedDelivery>, Error> {
    let ids: Option<&[String]> = Some(filter.ids.as_slice()).filter(|ids| !ids.is_empty());
    let rows = sqlx::query_as!(
        UnrecognisedRow,
        r#"select i.source, i.id, i.fact, i.admitted_at, raw.body as "body?", raw.received_at as "received_at?"
           from inbox i left join raw_deliveries raw on raw.source = i.source and raw.id = i.id
           where i.kind = 'fact.unrecognised'
             and ($1::text is null or i.fact::json ->> 'processor' = $1)
             and ($2::text is null or i.fact::json ->> 'event_type' = $2)
             and ($3::text[] is null or i.id = any($3) or i.source || '/' || i.id = any($3))
             and (i.admitted_at, i.source, i.id) > ($4, $5, $6)
           order by i.admitted_at, i.source, i.id limit $7"#,
        filter.processor,
        filter.event_type,
        ids as _,
        place.admitted_at,
        place.cause.source,
        place.cause.id,
        limit,
    )
    .fetch_all(connection)
    .await
    .doing("listing unrecognised deliveries")?;
    rows.into_iter().map(UnrecognisedRow::read).collect()
}

/// Those of some deliveries that have not been recognised meanwhile, the oldest first.
///
/// # Errors
/// Those of the database.
pub async fn still_unrecognised(
    connection: &mut PgConnection,
    causes: &[&Cause],
) -> Result<Vec<UnrecognisedDelivery>, Error> {
    let sources: Vec<&str> = causes.iter().map(|cause| cause.source.as_str()).collect();
    let ids: Vec<&str> = causes.iter().map(|cause| cause.id.as_str()).collect();
    let rows = sqlx::query_as!(
        UnrecognisedRow,
        r#"select i.source, i.id, i.fact, i.admitted_at, raw.body as "body?", raw.received_at as "received_at?"
           from inbox i left join raw_deliveries raw on raw.source = i.source and raw.id = i.id
           where i.kind = 'fact.unrecognised' and (i.source, i.id) in (select * from unnest($1::text[], $2::text[]))
           order by i.admitted_at, i.source, i.id"#,
        &sources as _,
        &ids as _,
    )
    .fetch_all(connection)
    .await
    .doing("reading unrecognised deliveries")?;
    rows.into_iter().map(UnrecognisedRow::read).collect()
}

struct UnrecognisedRow {
    source: String,
    id: String,
    fact: String,
    admitted_at: OffsetDateTime,
    body: Option<Vec<u8>>,
    received_at: Option<OffsetDateTime>,
}

impl UnrecognisedRow {
    fn read(self) -> Result<UnrecognisedDelivery, Error> {
        Ok(UnrecognisedDelivery {
            cause: Cause { source: self.source, id: self.id },
            said: serde_json::from_str(&self.fact).map_err(|error| Error::stored("a fact", error))?,
            admitted_at: self.admitted_at,
            raw: self.body.zip(self.received_at).map(|(body, received_at)| RawBody { body, received_at }),
        })
    }
}
