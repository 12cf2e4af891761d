//! Processes of the fleet, as the database sees them: each connection says what its process calls itself.

use crate::error::{Doing, Error};
use crate::pool::Pool;

/// What workers call themselves at the database, before the digest of what they decide by.
pub const WORKERS: &str = "bursar workers ";

/// What a front door calls itself there: it writes no ledger, and is open also before the tables are what they should be.
pub const DOORS: &str = "bursar doors ";

/// The names of the pools that are connected to this database now and whose names begin so, each once. Every role sees
/// the names of all.
///
/// # Errors
/// Where Postgres does not answer.
pub async fn connected(pool: &Pool, beginning: &str) -> Result<Vec<String>, Error> {
    sqlx::query_scalar!(
        r#"select distinct application_name as "name!" from pg_stat_activity
           where datname = current_database() and starts_with(application_name, $1) order by 1"#,
        beginning,
    )
    .fetch_all(pool)
    .await
    .doing("looking for processes of the fleet")
}

/// How many connections workers have to this database, by name. Every role sees the names of all. Not checked at compile time:
/// it is the catalog that is asked.
pub(crate) async fn workers(pool: &Pool) -> Result<Vec<(String, i64)>, Error> {
    sqlx::query_as(
        "select application_name, count(*) from pg_stat_activity
         where datname = current_database() and starts_with(application_name, $1) group by 1 order by 1",
    )
    .bind(WORKERS)
    .fetch_all(pool)
    .await
    .doing("looking for workers")
}
