//! SQL of alerts: which are raised, and what of it is new.

use super::Findings;
use db::{Doing, Error, PgConnection};
use serde_json::Value;
use sqlx::types::Json;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// Waits until no other process looks. Readers do not wait, nor does anybody for them.
pub(super) async fn take_turns(connection: &mut PgConnection) -> Result<(), Error> {
    sqlx::query!("lock table alerts in share row exclusive mode")
        .execute(connection)
        .await
        .doing("waiting for the turn to look")?;
    Ok(())
}

/// An alert that was raised or cleared just now.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub is_raised: bool,
    pub alert: String,
    pub about: String,
    pub raised_at: OffsetDateTime,
    pub details: Value,
}

/// Makes the rows of these alerts say what was found, and returns those that said otherwise before. Other alerts are somebody
/// else's.
pub(super) async fn change(
    connection: &mut PgConnection,
    own: &[&str],
    findings: &Findings,
    now: OffsetDateTime,
) -> Result<Vec<Change>, Error> {
    let alerts: Vec<&str> = findings.holds.iter().map(|condition| condition.alert).collect();
    let abouts: Vec<&str> = findings.holds.iter().map(|condition| condition.about.as_str()).collect();
    let details: Vec<Json<&Value>> =
        findings.holds.iter().map(|condition| Json(&condition.details)).collect();
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
         where cleared_at is null and alert = any($5) and alert <> all($3)
           and not exists (select from unnest($1::text[], $2::text[]) as h (alert, about)
                           where h.alert = alerts.alert and h.about = alerts.about)
         returning alert, about, raised_at, details",
        &alerts as _,
        &abouts as _,
        &findings.unknown as _,
        now,
        own as _,
    )
    .fetch_all(connection)
    .await
    .doing("clearing alerts")?;
    let raised = raised.into_iter().map(|row| (true, row.alert, row.about, row.raised_at, row.details));
    let cleared = cleared.into_iter().map(|row| (false, row.alert, row.about, row.raised_at, row.details));
    let change = |(is_raised, alert, about, raised_at, details)| Change {
        is_raised,
        alert,
        about,
        raised_at,
        details,
    };
    Ok(raised.chain(cleared).map(change).collect())
}

/// An alert that is raised now.
#[derive(Debug, Clone, PartialEq)]
pub struct Raised {
    pub alert: String,
    /// Which one, if there can be several; else empty.
    pub about: String,
    pub raised_at: OffsetDateTime,
    /// As it was then.
    pub details: Value,
}

/// The latest of the alerts that are raised, up to `limit`.
///
/// # Errors
/// Those of the database.
pub async fn raised(connection: &mut PgConnection, limit: i64) -> Result<Vec<Raised>, Error> {
    sqlx::query_as!(
        Raised,
        "select alert, about, raised_at, details from alerts where cleared_at is null
         order by raised_at desc, alert, about limit $1",
        limit,
    )
    .fetch_all(connection)
    .await
    .doing("reading alerts")
}

/// Which alerts are raised, and for how many things each.
///
/// # Errors
/// Those of the database.
pub async fn which(connection: &mut PgConnection) -> Result<BTreeMap<String, i64>, Error> {
    let rows = sqlx::query!(
        r#"select alert, count(*) as "count!" from alerts where cleared_at is null group by alert"#
    )
    .fetch_all(connection)
    .await
    .doing("reading which alerts are raised")?;
    Ok(rows.into_iter().map(|row| (row.alert, row.count)).collect())
}
