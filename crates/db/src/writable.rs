//! Whether a server takes changes: a standby does not.

use sqlx::PgConnection;

pub(crate) const CANNOT_BE_WRITTEN: &str =
    "it takes no changes: it is a standby, or default_transaction_read_only is on";

/// Whether the server behind a connection takes changes just now.
pub(crate) async fn takes_changes(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    // No prepared statement: it is asked of whatever the connection leads to.
    let answer: Vec<sqlx::postgres::PgRow> = sqlx::Executor::fetch_all(
        connection,
        sqlx::raw_sql("select 1 where not pg_is_in_recovery() and not current_setting('transaction_read_only')::boolean"),
    )
    .await?;
    Ok(!answer.is_empty())
}
