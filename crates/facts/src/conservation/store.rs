//! Conservation, proved by queries: each stands in its file, and returns who breaks its rule.

use super::{Culprit, ReaderCounts};
use crate::Readers;
use db::{Doing, Error, PgConnection};

/// Of each reader, by name.
///
/// # Errors
/// Those of the database.
pub async fn counts(connection: &mut PgConnection, readers: &Readers) -> Result<Vec<ReaderCounts>, Error> {
    let (kinds, names) = readers.columns();
    sqlx::query_file_as!(ReaderCounts, "src/conservation/counts.sql", &kinds as _, &names as _)
        .fetch_all(connection)
        .await
        .doing("counting facts")
}

/// Facts without an outcome at one of their readers, and without a letter of it, that are in flight no more.
///
/// # Errors
/// Those of the database.
pub async fn unsettled(
    connection: &mut PgConnection,
    readers: &Readers,
    limit: i64,
) -> Result<Vec<Culprit>, Error> {
    let (kinds, names) = readers.columns();
    sqlx::query_file_as!(Culprit, "src/conservation/unsettled.sql", &kinds as _, &names as _, limit)
        .fetch_all(connection)
        .await
        .doing("checking facts_settled")
}

/// Facts that a reader refused and that are no dead letters of it.
pub async fn refusals_kept(connection: &mut PgConnection, limit: i64) -> Result<Vec<Culprit>, Error> {
    sqlx::query_file_as!(Culprit, "src/conservation/refusals_kept.sql", limit)
        .fetch_all(connection)
        .await
        .doing("checking refusals_kept")
}

/// Outcomes of facts that the gate never admitted.
///
/// # Errors
/// Those of the database.
pub async fn outcomes_admitted(connection: &mut PgConnection, limit: i64) -> Result<Vec<Culprit>, Error> {
    sqlx::query_file_as!(Culprit, "src/conservation/outcomes_admitted.sql", limit)
        .fetch_all(connection)
        .await
        .doing("checking outcomes_admitted")
}
