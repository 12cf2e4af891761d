//! What the account used from the purchase on.

use super::Subject;
use db::{Doing, Error, PgConnection};
use domain::Credits;
use evidence::{Usage, UsageDay};

/// Days that a pack holds.
const DAYS_MAX: usize = 400;

/// References of one day that a pack holds.
const REFERENCES_MAX: i64 = 25;

pub async fn after(connection: &mut PgConnection, of: &Subject) -> Result<Usage, Error> {
    let rows = sqlx::query_file!(
        "src/evidence/usage.sql",
        of.account.as_str(),
        of.terms.at,
        i32::try_from(REFERENCES_MAX).unwrap_or(i32::MAX),
    )
    .fetch_all(connection)
    .await
    .doing("reading what was used after a purchase")?;
    let count = |count: i64| u64::try_from(count).unwrap_or(0);
    let usage = Usage {
        count: rows.iter().map(|row| count(row.count)).sum(),
        credits: rows.iter().map(|row| Credits::new(row.credits)).sum(),
        first_at: rows.first().map(|row| row.first_at),
        last_at: rows.last().map(|row| row.last_at),
        days_left_out: rows.len().saturating_sub(DAYS_MAX) as u64,
        days: Vec::new(),
    };
    let days = rows.into_iter().take(DAYS_MAX).map(|row| UsageDay {
        day: row.day,
        count: count(row.count),
        credits: Credits::new(row.credits),
        references_left_out: count(row.named).saturating_sub(row.references.len() as u64),
        references: row.references,
        ips: row.ips,
        devices: row.devices,
    });
    Ok(Usage { days: days.collect(), ..usage })
}
