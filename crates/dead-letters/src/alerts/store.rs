//! SQL of alerts: what holds, and what of it is new.

use super::{Alert, Condition, Findings, time_text};
use db::{Doing, Error, PgConnection};
use serde_json::{Value, json};
use sqlx::types::Json;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// New kinds told of by one look; the next takes the rest.
const KINDS_AT_ONCE: i64 = 500;

/// Waits until no other process looks. Readers do not wait, nor does anybody for them.
pub(super) async fn take_turns(connection: &mut PgConnection) -> Result<(), Error> {
    sqlx::query!("lock table alerts in share row exclusive mode")
        .execute(connection)
        .await
        .doing("waiting for the turn to look")?;
    Ok(())
}

/// Kinds of failures that nobody was told of, and those told of whose letters are still open.
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
    let condition = kinds.into_iter().map(|kind| {
        // Not the reason: what is not masked in it is not for every subscriber.
        let details = json!({ "fingerprint": kind.fingerprint, "worker": kind.worker, "type": kind.fact_type,
                              "code": kind.code, "first_seen": kind.first_seen.map(time_text) });
        Condition { alert: Alert::NewKind, about: kind.fingerprint.unwrap_or_default(), details }
    });
    Ok(condition.collect())
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

/// When that failed first which is open still, however often it was replayed since.
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
    let condition = replays.into_iter().map(|row| Condition {
        alert: Alert::ReplayFailing,
        about: row.replay.to_string(),
        details: json!({ "replay": row.replay, "state": row.state, "by": row.by, "letters": row.total,
                         "dead_again": row.dead_again, "at_least": at_least }),
    });
    Ok(condition.collect())
}

/// An alert that was raised or cleared just now.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub is_raised: bool,
    pub alert: Alert,
    pub about: String,
    pub raised_at: OffsetDateTime,
    pub details: Value,
}

/// Makes the rows say what was found, and returns those that said otherwise before.
pub(super) async fn change(
    connection: &mut PgConnection,
    findings: &Findings,
    now: OffsetDateTime,
) -> Result<Vec<Change>, Error> {
    let alerts: Vec<&str> = findings.holds.iter().map(|condition| condition.alert.as_str()).collect();
    let abouts: Vec<&str> = findings.holds.iter().map(|condition| condition.about.as_str()).collect();
    let details: Vec<Json<&Value>> =
        findings.holds.iter().map(|condition| Json(&condition.details)).collect();
    let unknown: Vec<&str> = findings.unknown.iter().map(|alert| alert.as_str()).collect();
    let raised = sqlx::query!(
        "insert into alerts (alert, about, raised_at, details)
         select alert, about, $4, details from unnest($1::text[], $2::text[], $3::json[]) as h (alert, about, details)
         on conflict (alert, about) do update
           set raised_at = excluded.raised_at, cleared_at = null, details = excluded.details
           where alerts.cleared_at is not null
         returning alert, about, raised_at, details",
        &alerts as _,
        &abouts as _,
        &details as _,
        now,
    )
    .fetch_all(&mut *connection)
    .await
    .doing("raising alerts")?;
    let cleared = sqlx::query!(
        "update alerts set cleared_at = $4
         where cleared_at is null and alert <> all($3)
           and not exists (select from unnest($1::text[], $2::text[]) as h (alert, about)
                           where h.alert = alerts.alert and h.about = alerts.about)
         returning alert, about, raised_at, details",
        &alerts as _,
        &abouts as _,
        &unknown as _,
        now,
    )
    .fetch_all(connection)
    .await
    .doing("clearing alerts")?;
    let raised = raised.into_iter().map(|row| (true, row.alert, row.about, row.raised_at, row.details));
    let cleared = cleared.into_iter().map(|row| (false, row.alert, row.about, row.raised_at, row.details));
    raised
        .chain(cleared)
        .map(|(is_raised, alert, about, raised_at, details)| {
            Ok(Change { is_raised, alert: parse(&alert)?, about, raised_at, details })
        })
        .collect()
}

fn parse(text: &str) -> Result<Alert, Error> {
    text.parse().map_err(|why: String| Error::stored("an alert", why))
}

/// An alert that is raised now.
#[derive(Debug, Clone, PartialEq)]
pub struct Raised {
    pub alert: Alert,
    /// Which one, where there can be several; else empty.
    pub about: String,
    pub raised_at: OffsetDateTime,
    /// As it was then.
    pub details: Value,
}

/// The latest of the alerts that are raised, up to `limit`.
pub async fn raised(connection: &mut PgConnection, limit: i64) -> Result<Vec<Raised>, Error> {
    let rows = sqlx::query!(
        "select alert, about, raised_at, details from alerts where cleared_at is null
         order by raised_at desc, alert, about limit $1",
        limit,
    )
    .fetch_all(connection)
    .await
    .doing("reading alerts")?;
    rows.into_iter()
        .map(|row| {
            let alert = parse(&row.alert)?;
            Ok(Raised { alert, about: row.about, raised_at: row.raised_at, details: row.details })
        })
        .collect()
}

/// Which alerts are raised, and for how many things each.
pub async fn which(connection: &mut PgConnection) -> Result<BTreeMap<Alert, i64>, Error> {
    let rows = sqlx::query!(
        r#"select alert, count(*) as "count!" from alerts where cleared_at is null group by alert"#
    )
    .fetch_all(connection)
    .await
    .doing("reading which alerts are raised")?;
    rows.iter().map(|row| Ok((parse(&row.alert)?, row.count))).collect()
}

/// How many kinds of failures there ever were.
pub async fn kinds(connection: &mut PgConnection) -> Result<i64, Error> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from fingerprints"#)
        .fetch_one(connection)
        .await
        .doing("counting kinds of failures")
}
