//! Hand-overs in Postgres: one row for each, and its list of facts while it runs.

use super::{HandOver, HandOverOrder, StepCounts};
use db::{Doing, Error, PgConnection, Pool};
use domain::Cause;
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

/// How a hand-over stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HandOverState {
    Running,
    Finished,
}

impl HandOverState {
    fn read(text: &str) -> Result<Self, Error> {
        match text {
            "running" => Ok(HandOverState::Running),
            "finished" => Ok(HandOverState::Finished),
            _ => Err(Error::stored("the state of a hand-over", format!("{text:?}"))),
        }
    }
}

/// A fact of a hand-over's list, as it is stored.
pub struct Listed {
    pub place: i64,
    pub cause: Cause,
    pub kind: String,
    pub fact: String,
    pub time: OffsetDateTime,
    /// The reader has settled it, or a dead letter stands for it there: or it is of another kind by now, and came anew.
    pub is_over: bool,
}

struct HandOverRow {
    hand_over: Uuid,
    kind: String,
    reader: String,
    state: String,
    began_at: OffsetDateTime,
    by: String,
    facts: i64,
    handed_over: i64,
    left_out: i64,
    unreadable: i64,
}

impl HandOverRow {
    fn read(self) -> Result<HandOver, Error> {
        let Self { hand_over, kind, reader, began_at, by, facts, handed_over, left_out, unreadable, .. } =
            self;
        let state = HandOverState::read(&self.state)?;
        Ok(HandOver {
            hand_over,
            kind,
            reader,
            state,
            began_at,
            by,
            facts,
            handed_over,
            left_out,
            unreadable,
        })
    }
}

/// Those of these readers of a kind that do not have all of it: they began to read it later than the gate to admit it; or a
/// hand-over to them is not finished.
///
/// # Errors
/// Those of the database.
pub async fn waiting_readers(pool: &Pool, kind: &str, readers: &[&str]) -> Result<Vec<String>, Error> {
    sqlx::query_scalar!(
        "select reader from readers r
         where kind = $1 and reader = any($2)
           and (since > '-infinity'
                or exists (select from hand_overs h
                           where h.kind = r.kind and h.reader = r.reader and h.state = 'running'))
         order by reader",
        kind,
        readers as _,
    )
    .fetch_all(pool)
    .await
    .doing("looking for readers that came later")
}

/// Begins a hand-over with its list, or finds the one that runs; `None` if the reader has not begun to read the kind:
/// what is admitted until then would be missed. Of several who begin one at once the others wait for the first.
///
/// # Errors
/// Those of the database.
pub async fn begin(
    pool: &Pool,
    order: &HandOverOrder<'_>,
    now: OffsetDateTime,
) -> Result<Option<HandOver>, Error> {
    let mut transaction = pool.begin().await.doing("beginning a hand-over")?;
    let connection = &mut *transaction;
    // This reads the whole inbox, and a second caller waits as long.
    sqlx::query!("select set_config('statement_timeout', '0', true) as statements, set_config('lock_timeout', '0', true) as locks")
        .fetch_one(&mut *connection)
        .await
        .doing("beginning a hand-over")?;
    let kind = order.kind.as_str();
    let begun = loop {
        let hand_over = Uuid::now_v7();
        if insert(connection, hand_over, order, now).await? {
            list(connection, hand_over, order).await?;
        }
        if let Some(running) = running(connection, kind, order.reader).await? {
            break Some(running);
        }
        // The one that ran may have finished in between.
        if !is_known(connection, kind, order.reader).await? {
            break None;
        }
    };
    transaction.commit().await.doing("beginning a hand-over")?;
    Ok(begun)
}

/// False where one runs, or where the reader has not begun to read the kind.
async fn insert(
    connection: &mut PgConnection,
    hand_over: Uuid,
    order: &HandOverOrder<'_>,
    now: OffsetDateTime,
) -> Result<bool, Error> {
    let begun = sqlx::query!(
        "insert into hand_overs (hand_over, kind, reader, began_at, by)
         select $1, kind, reader, $4, $5 from readers where kind = $2 and reader = $3
         on conflict (kind, reader) where state = 'running' do nothing",
        hand_over,
        order.kind.as_str(),
        order.reader,
        now,
        order.by,
    )
    .execute(connection)
    .await
    .doing("beginning a hand-over")?;
    Ok(begun.rows_affected() > 0)
}

async fn is_known(connection: &mut PgConnection, kind: &str, reader: &str) -> Result<bool, Error> {
    sqlx::query_scalar!(
        r#"select exists (select from readers where kind = $1 and reader = $2) as "is_known!""#,
        kind,
        reader,
    )
    .fetch_one(connection)
    .await
    .doing("looking for a reader")
}

/// Lists what the reader has not settled, in order of time.
async fn list(
    connection: &mut PgConnection,
    hand_over: Uuid,
    order: &HandOverOrder<'_>,
) -> Result<(), Error> {
    sqlx::query!(
        "with listed as (
             insert into hand_over_facts (hand_over, place, source, id)
             select $1, row_number() over (order by i.time, i.source, i.id), i.source, i.id
             from inbox i
             where i.kind = $2
               and not exists (select from outcomes o where o.source = i.source and o.id = i.id and o.reader = $3)
             returning 1
         )
         update hand_overs set facts = (select count(*) from listed) where hand_over = $1",
        hand_over,
        order.kind.as_str(),
        order.reader,
    )
    .execute(connection)
    .await
    .doing("listing the facts of a hand-over")?;
    Ok(())
}

async fn running(connection: &mut PgConnection, kind: &str, reader: &str) -> Result<Option<HandOver>, Error> {
    sqlx::query_as!(
        HandOverRow,
        "select hand_over, kind, reader, state, began_at, by, facts, handed_over, left_out, unreadable
         from hand_overs where kind = $1 and reader = $2 and state = 'running'",
        kind,
        reader,
    )
    .fetch_optional(connection)
    .await
    .doing("looking for a hand-over")?
    .map(HandOverRow::read)
    .transpose()
}

/// Locks a hand-over until the transaction ends; `None` if another process holds it. What follows looks rows up by
/// their keys: of a list that was just made Postgres knows no statistics, and would read the whole inbox for each step.
///
/// # Errors
/// Those of the database.
pub async fn claim(connection: &mut PgConnection, hand_over: Uuid) -> Result<Option<HandOver>, Error> {
    sqlx::query!(
        "select set_config('enable_seqscan', 'off', true) as scans, set_config('enable_hashjoin', 'off', true) as hashes,
                set_config('enable_mergejoin', 'off', true) as merges"
    )
    .fetch_one(&mut *connection)
    .await
    .doing("taking a hand-over in hand")?;
    sqlx::query_as!(
        HandOverRow,
        "select hand_over, kind, reader, state, began_at, by, facts, handed_over, left_out, unreadable
         from hand_overs where hand_over = $1 for update skip locked",
        hand_over,
    )
    .fetch_optional(connection)
    .await
    .doing("taking a hand-over in hand")?
    .map(HandOverRow::read)
    .transpose()
}

/// The next facts of its list. What became of each is looked up one by one: an `exists` Postgres may answer by reading all
/// that ever became of any fact.
///
/// # Errors
/// Those of the database.
pub async fn next(
    connection: &mut PgConnection,
    hand_over: &HandOver,
    limit: i64,
) -> Result<Vec<Listed>, Error> {
    let rows = sqlx::query!(
        r#"select l.place, i.source, i.id, i.kind, i.fact, i.time,
                  (i.kind <> h.kind
                   or (select true from outcomes o where o.source = i.source and o.id = i.id and o.reader = h.reader limit 1)
                      is not null
                   or (select true from facts_given_up g
                       where g.worker = h.reader and g.source = i.source and g.id = i.id limit 1) is not null
                  ) as "is_over!"
           from hand_over_facts l
           join hand_overs h on h.hand_over = l.hand_over
           join inbox i on i.source = l.source and i.id = l.id
           where l.hand_over = $1 and l.place > $2 and l.place <= $2 + $3
           order by l.place"#,
        hand_over.hand_over,
        hand_over.place(),
        limit,
    )
    .fetch_all(connection)
    .await
    .doing("reading the facts of a hand-over")?;
    Ok(rows
        .into_iter()
        .map(|row| Listed {
            place: row.place,
            cause: Cause { source: row.source, id: row.id },
            kind: row.kind,
            fact: row.fact,
            time: row.time,
            is_over: row.is_over,
        })
        .collect())
}

/// Notes what became of the next facts of the list. For those that cannot be read nobody waits.
///
/// # Errors
/// Those of the database.
pub async fn advance(
    connection: &mut PgConnection,
    hand_over: Uuid,
    done: &StepCounts,
) -> Result<HandOver, Error> {
    if !done.unreadable.is_empty() {
        sqlx::query!(
            "delete from hand_over_facts where hand_over = $1 and place = any($2)",
            hand_over,
            &done.unreadable as _,
        )
        .execute(&mut *connection)
        .await
        .doing("noting what cannot be handed over")?;
    }
    sqlx::query_as!(
        HandOverRow,
        "update hand_overs set place = place + $2 + $3 + $4, handed_over = handed_over + $2, left_out = left_out + $3,
                               unreadable = unreadable + $4
         where hand_over = $1
         returning hand_over, kind, reader, state, began_at, by, facts, handed_over, left_out, unreadable",
        hand_over,
        done.handed_over,
        done.left_out,
        done.unreadable.len() as i64,
    )
    .fetch_one(connection)
    .await
    .doing("noting what was handed over")?
    .read()
}

/// What a look at a list that went out has found.
pub struct Drained {
    /// The reader is done with so many facts from the start of the list.
    pub settled: i64,
    /// Facts that this look took from the list.
    pub gone: u64,
}

/// Takes facts from the start of the list that are over at the reader; nothing is found when none is left on it.
///
/// # Errors
/// Those of the database.
pub async fn drain(
    connection: &mut PgConnection,
    hand_over: Uuid,
    limit: i64,
) -> Result<Option<Drained>, Error> {
    let gone = sqlx::query!(
        "delete from hand_over_facts d using (
             select l.place,
                    (i.kind is distinct from h.kind
                     or (select true from outcomes o where o.source = i.source and o.id = i.id and o.reader = h.reader limit 1)
                        is not null
                     or (select true from facts_given_up g
                         where g.worker = h.reader and g.source = i.source and g.id = i.id limit 1) is not null
                    ) as is_over
             from (select hand_over, place, source, id from hand_over_facts
                   where hand_over = $1 order by place limit $2) l
             join hand_overs h on h.hand_over = l.hand_over
             left join inbox i on i.source = l.source and i.id = l.id
         ) looked
         where d.hand_over = $1 and d.place = looked.place and looked.is_over",
        hand_over,
        limit,
    )
    .execute(&mut *connection)
    .await
    .doing("looking for what a reader has settled of a hand-over")?
    .rows_affected();
    let first = sqlx::query_scalar!(
        "select place from hand_over_facts where hand_over = $1 order by place limit 1",
        hand_over
    )
    .fetch_optional(connection)
    .await
    .doing("looking for what a reader has not settled of a hand-over")?;
    Ok(first.map(|place| Drained { settled: place - 1, gone }))
}

/// Puts what is left of the list behind its end, in its order: it goes out again. Each counts again as one of the list.
///
/// # Errors
/// Those of the database.
pub async fn list_again(connection: &mut PgConnection, hand_over: &HandOver) -> Result<HandOver, Error> {
    sqlx::query_as!(
        HandOverRow,
        "with taken as (
             delete from hand_over_facts where hand_over = $1 returning place, source, id
         ), listed as (
             insert into hand_over_facts (hand_over, place, source, id)
             select $1, $2 + row_number() over (order by place), source, id from taken
             returning 1
         )
         update hand_overs set facts = facts + (select count(*) from listed) where hand_over = $1
         returning hand_over, kind, reader, state, began_at, by, facts, handed_over, left_out, unreadable",
        hand_over.hand_over,
        hand_over.facts,
    )
    .fetch_one(connection)
    .await
    .doing("listing again what a hand-over waits for")?
    .read()
}

/// Lists what was admitted before the reader came and is not over there, though all that was listed is. This reads the whole
/// inbox.
///
/// # Errors
/// Those of the database.
pub async fn list_missed(connection: &mut PgConnection, hand_over: &HandOver) -> Result<HandOver, Error> {
    sqlx::query!(
        "select set_config('statement_timeout', '0', true) as statements, set_config('enable_seqscan', 'on', true) as scans,
                set_config('enable_hashjoin', 'on', true) as hashes, set_config('enable_mergejoin', 'on', true) as merges"
    )
    .fetch_one(&mut *connection)
    .await
    .doing("listing what a hand-over missed")?;
    sqlx::query_as!(
        HandOverRow,
        "with listed as (
             insert into hand_over_facts (hand_over, place, source, id)
             select $1, $4 + row_number() over (order by i.time, i.source, i.id), i.source, i.id
             from inbox i
             where i.kind = $2
               and coalesce(i.recognised_at, i.admitted_at)
                   < (select since from readers where reader = $3 and kind = $2)
               and not exists (select from outcomes o where o.source = i.source and o.id = i.id and o.reader = $3)
               and not exists (select from facts_given_up g where g.source = i.source and g.id = i.id and g.worker = $3)
             returning 1
         )
         update hand_overs set facts = facts + (select count(*) from listed) where hand_over = $1
         returning hand_over, kind, reader, state, began_at, by, facts, handed_over, left_out, unreadable",
        hand_over.hand_over,
        hand_over.kind,
        hand_over.reader,
        hand_over.facts,
    )
    .fetch_one(connection)
    .await
    .doing("listing what a hand-over missed")?
    .read()
}

/// Its list is empty.
///
/// # Errors
/// Those of the database.
pub async fn finish(
    connection: &mut PgConnection,
    hand_over: Uuid,
    now: OffsetDateTime,
) -> Result<HandOver, Error> {
    sqlx::query_as!(
        HandOverRow,
        "update hand_overs set state = 'finished', ended_at = greatest(began_at, $2) where hand_over = $1
         returning hand_over, kind, reader, state, began_at, by, facts, handed_over, left_out, unreadable",
        hand_over,
        now,
    )
    .fetch_one(connection)
    .await
    .doing("finishing a hand-over")?
    .read()
}
