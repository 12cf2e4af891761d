//! Processes of the fleet, as the database sees them: each connection says what its process calls itself.

use crate::{Doing, Error, Pool};

/// The names of the pools that are connected to this database now and whose names begin so, each once. A role sees its own
/// connections; those of others only with the rights of `pg_read_all_stats`.
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
