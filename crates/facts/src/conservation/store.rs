//! Conservation, proved by queries: each stands in its file, and returns who breaks its rule.

use super::{Culprit, ReaderCounts};
use crate::Readers;
use db::{Doing, Error, PgConnection};
use std::collections::{BTreeMap, BTreeSet};

/// A reader, its kinds, and those of them of which it does not have what was admitted before it came.
struct Bound<'a> {
    reader: &'a str,
    kinds: Vec<&'a str>,
    late: Vec<&'a str>,
}

/// Each reader by name: a statement for one reader is planned for its kinds, one for all of them is not.
async fn bound<'a>(connection: &mut PgConnection, readers: &'a Readers) -> Result<Vec<Bound<'a>>, Error> {
    let whole: BTreeSet<(String, String)> =
        sqlx::query!("select reader, kind from readers where since = '-infinity'")
            .fetch_all(connection)
            .await
            .doing("looking for readers that have all of a kind")?
            .into_iter()
            .map(|row| (row.reader, row.kind))
            .collect();
    let names: BTreeSet<&str> = readers.columns().1.into_iter().collect();
    let of = |reader: &'a str| {
        let kinds: Vec<&str> = readers.kinds_of(reader).collect();
        let is_late = |kind: &&str| !whole.contains(&(reader.to_owned(), (*kind).to_owned()));
        let late = kinds.iter().copied().filter(is_late).collect();
        Bound { reader, kinds, late }
    };
    Ok(names.into_iter().map(of).collect())
}

/// Of each reader, by name.
///
/// # Errors
/// Those of the database.
pub async fn counts(connection: &mut PgConnection, readers: &Readers) -> Result<Vec<ReaderCounts>, Error> {
    let admitted: BTreeMap<String, i64> =
        sqlx::query!(r#"select kind, count(*) as "count!" from inbox group by kind"#)
            .fetch_all(&mut *connection)
            .await
            .doing("counting admitted facts")?
            .into_iter()
            .map(|row| (row.kind, row.count))
            .collect();
    let mut counts = Vec::new();
    for Bound { reader, kinds, late } in bound(connection, readers).await? {
        let admitted: i64 = kinds.iter().filter_map(|kind| admitted.get(*kind)).sum();
        let of_reader = sqlx::query_file_as!(
            ReaderCounts,
            "src/conservation/counts.sql",
            reader,
            &kinds as _,
            &late as _,
            admitted
        );
        counts.push(of_reader.fetch_one(&mut *connection).await.doing("counting facts")?);
    }
    Ok(counts)
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
    let bound = bound(connection, readers).await?;
    let is_named = bound.len() > 1;
    let mut found = BTreeMap::new();
    for Bound { reader, kinds, late } in bound {
        let rows = sqlx::query_file!(
            "src/conservation/unsettled.sql",
            reader,
            &kinds as _,
            &late as _,
            is_named,
            limit
        );
        let rows = rows.fetch_all(&mut *connection).await.doing("checking facts_settled")?;
        found.extend(rows.into_iter().map(|row| ((row.source, row.id, reader), row.got)));
    }
    let culprit = |((source, id, _), got): ((String, String, &str), String)| Culprit {
        subject: format!("{source}/{id}"),
        expected: "an outcome, or a dead letter".to_owned(),
        got,
    };
    Ok(found.into_iter().map(culprit).take(usize::try_from(limit).unwrap_or(usize::MAX)).collect())
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
