//! The table of outcomes: one row for each fact and each reader that has settled it.

use super::{FactState, ReaderOutcome, ReaderStanding, Settlement};
use crate::Readers;
use db::{Doing, Error, PgConnection, Work};
use domain::{Cause, Outcome};
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;
use uuid::Uuid;

/// Facts of a batch that a reader has decided about before.
#[derive(Default)]
pub(super) struct Before {
    /// They are decided again: the dead letter may not have gone out before a crash, and an operator who has mended what was
    /// wrong replays it.
    pub refused: BTreeSet<Cause>,
    pub settled: BTreeSet<Cause>,
}

/// Sources and ids as two columns for a statement.
fn columns<'a>(causes: impl IntoIterator<Item = &'a Cause>) -> (Vec<&'a str>, Vec<&'a str>) {
    causes.into_iter().map(|cause| (cause.source.as_str(), cause.id.as_str())).unzip()
}

fn outcome(word: &str) -> Result<Outcome, Error> {
    word.parse().map_err(|error: String| Error::stored("an outcome", error))
}

/// Which of these facts this reader has settled before, and which it has refused. One statement.
pub(super) async fn settled_before<'a>(
    work: &mut Work,
    reader: &str,
    causes: impl IntoIterator<Item = &'a Cause>,
) -> Result<Before, Error> {
    let (sources, ids) = columns(causes);
    let rows = sqlx::query!(
        r#"select f.source, f.id, f.outcome = 'refused' as "refused!" from unnest($1::text[], $2::text[]) as n (source, id)
           cross join lateral (select source, id, outcome from outcomes
                               where source = n.source and id = n.id and reader = $3 limit 1) f"#,
        &sources as _,
        &ids as _,
        reader,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("looking for facts settled before")?;
    let mut before = Before::default();
    for row in rows {
        let cause = Cause { source: row.source, id: row.id };
        match row.refused {
            true => before.refused.insert(cause),
            false => before.settled.insert(cause),
        };
    }
    Ok(before)
}

/// Writes what a reader made of the facts of a batch, in their order. One statement.
pub(super) async fn insert(
    work: &mut Work,
    reader: &str,
    settled: &[Settlement],
    rules: Option<i64>,
) -> Result<(), Error> {
    let now = work.now;
    let (sources, ids) = columns(settled.iter().map(|fact| &fact.cause));
    let kinds: Vec<&str> = settled.iter().map(|fact| fact.kind.as_str()).collect();
    let outcomes: Vec<&str> = settled.iter().map(|fact| fact.outcome.as_str()).collect();
    let payments: Vec<Option<&str>> =
        settled.iter().map(|fact| fact.payment.as_ref().map(|payment| payment.as_str())).collect();
    sqlx::query!(
        "insert into outcomes (source, id, reader, kind, outcome, payment, settled_at, rules)
         select source, id, $6, kind, outcome, payment, $7, $8
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
           with ordinality as f (source, id, kind, outcome, payment, place)
         order by place",
        &sources as _,
        &ids as _,
        &kinds as _,
        &outcomes as _,
        &payments as _,
        reader,
        now,
        rules,
    )
    .execute(work.connection().await?)
    .await
    .doing("noting settled facts")?;
    Ok(())
}

/// What a reader has refused and settles anew has its new outcome alone. No statement where there is none.
pub(super) async fn forget_refusals(work: &mut Work, reader: &str, refused: &[&Cause]) -> Result<(), Error> {
    if refused.is_empty() {
        return Ok(());
    }
    let (sources, ids) = columns(refused.iter().copied());
    sqlx::query!(
        "delete from outcomes f using unnest($1::text[], $2::text[]) as n (source, id)
         where f.source = n.source and f.id = n.id and f.reader = $3 and f.outcome = 'refused'",
        &sources as _,
        &ids as _,
        reader,
    )
    .execute(work.connection().await?)
    .await
    .doing("forgetting refusals")?;
    Ok(())
}

/// What each reader made of a fact, by the reader's name.
///
/// # Errors
/// Those of the database.
pub async fn of(connection: &mut PgConnection, cause: &Cause) -> Result<Vec<ReaderOutcome>, Error> {
    let rows = sqlx::query!(
        "select reader, outcome, settled_at from outcomes where source = $1 and id = $2 order by reader",
        cause.source,
        cause.id,
    )
    .fetch_all(connection)
    .await
    .doing("reading what became of a fact")?;
    rows.into_iter()
        .map(|row| {
            let settled_at = row.settled_at;
            Ok(ReaderOutcome { reader: row.reader, outcome: outcome(&row.outcome)?, settled_at })
        })
        .collect()
}

/// How facts stand at each reader that is bound to their kind; what was not admitted is left out. For commands that stated
/// facts and wait for what becomes of them.
///
/// # Errors
/// Those of the database.
pub async fn states<'a>(
    connection: &mut PgConnection,
    readers: &Readers,
    causes: impl IntoIterator<Item = &'a Cause>,
) -> Result<Vec<FactState>, Error> {
    let (sources, ids) = columns(causes);
    let (kinds, names) = readers.columns();
    let rows =
        sqlx::query_file!("src/outcomes/states.sql", &sources as _, &ids as _, &kinds as _, &names as _,)
            .fetch_all(connection)
            .await
            .doing("reading how facts stand")?;
    let mut states: BTreeMap<Cause, FactState> = BTreeMap::new();
    for row in rows {
        let cause = Cause { source: row.source, id: row.id };
        let state = states.entry(cause.clone()).or_insert_with(|| FactState {
            cause,
            kind: row.kind,
            readers: Vec::new(),
        });
        let Some(reader) = row.reader else { continue };
        let settled = row.outcome.zip(row.settled_at);
        let standing = standing(settled, row.is_given_up, row.letter, row.is_expected)?;
        state.readers.push((reader, standing));
    }
    Ok(states.into_values().collect())
}

fn standing(
    settled: Option<(String, OffsetDateTime)>,
    is_given_up: bool,
    letter: Option<Uuid>,
    is_expected: bool,
) -> Result<ReaderStanding, Error> {
    Ok(match settled {
        Some((word, at)) => ReaderStanding::Settled { outcome: outcome(&word)?, at },
        None if is_given_up => ReaderStanding::GivenUp { letter },
        None if is_expected => ReaderStanding::InFlight,
        None => ReaderStanding::NotHandedOver,
    })
}
