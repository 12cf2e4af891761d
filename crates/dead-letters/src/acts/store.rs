//! SQL of what operators do.

use super::{About, Edit, Erased, Error, Order, Pace, Record, Whose};
use crate::fingerprint;
use crate::letter::key;
use crate::read::{Filter, State};
use crate::replay::{end, release as give_back};
use bus::Attempt;
use db::{Doing, PgConnection, Pool};
use serde_json::json;
use sqlx::types::Json;
use sqlx::{Postgres, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

type Tx = Transaction<'static, Postgres>;

/// An act on a hundred thousand letters takes its time; nobody waits for it but who asked.
async fn begin(pool: &Pool) -> Result<Tx, db::Error> {
    let mut transaction = pool.begin().await.doing("beginning an operator's act")?;
    sqlx::query!("set local statement_timeout = '10min'")
        .execute(&mut *transaction)
        .await
        .doing("beginning an operator's act")?;
    Ok(transaction)
}

/// An act without a name is nobody's, and the audit could not tell whose.
fn somebody(by: &str) -> Result<(), Error> {
    if by.trim().is_empty() { Err(Error::Nobody) } else { Ok(()) }
}

/// So often an act is begun.
const TRIES: usize = 5;

/// Workers lock letters as they come, and where an act wants the same ones Postgres may have to end it. Nothing was done then.
async fn again<T>(act: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 1..TRIES {
        match act().await {
            Err(Error::Database(error)) if is_deadlock(&error) => {}
            done => return done,
        }
    }
    act().await
}

fn is_deadlock(error: &db::Error) -> bool {
    let db::Error::Sql { source, .. } = error else { return false };
    source.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "40P01")
}

async fn commit(transaction: Tx) -> Result<(), db::Error> {
    transaction.commit().await.doing("committing an operator's act")
}

/// Takes the letters that an order means, in a state, into this transaction's hands: the oldest first.
async fn take(connection: &mut PgConnection, order: &Order, wanted: State) -> Result<Vec<Uuid>, Error> {
    somebody(&order.by)?;
    let filter = Filter { states: vec![wanted], ..order.filter.clone() };
    refuse_others(connection, &filter, wanted).await?;
    // Locked in the order of their ids, then looked at once more: who waited here may find them in another's hands.
    let taken = sqlx::query_scalar!(
        r#"with meant as materialized (
               select letter from dead_letters_meant($1) order by first_failed_at, dead_at, letter limit $2
           ), locked as materialized (
               select letter, first_failed_at, dead_at from dead_letters
               where letter in (select letter from meant) and state = $3 order by letter for update
           )
           select letter as "letter!" from locked order by first_failed_at, dead_at, letter"#,
        Json(&filter) as _,
        order.max,
        wanted.as_str(),
    )
    .fetch_all(&mut *connection)
    .await
    .doing("taking letters in hand")?;
    let found = taken.len() as i64;
    match order.expected {
        Some(expected) if expected != found => Err(Error::Count { expected, found }),
        _ if found == 0 => Err(Error::Nothing { wanted }),
        _ => Ok(taken),
    }
}

/// Letters that were named one by one are each as expected, or nothing is done.
async fn refuse_others(connection: &mut PgConnection, filter: &Filter, wanted: State) -> Result<(), Error> {
    for letter in &filter.letters {
        let state = sqlx::query_scalar!("select state from dead_letters where letter = $1", letter)
            .fetch_optional(&mut *connection)
            .await
            .doing("looking at a letter")?;
        match state {
            None => return Err(Error::Unknown(*letter)),
            Some(state) if state != wanted.as_str() => {
                return Err(Error::Otherwise { letter: *letter, wanted, state });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Begins a replay of what the order means; the dead-letters worker carries it out. Returns it and how many letters it has.
pub async fn start_replay(
    pool: &Pool,
    order: &Order,
    pace: Pace,
    now: OffsetDateTime,
) -> Result<(Uuid, i64), Error> {
    again(async || {
        let replay = Uuid::now_v7();
        let mut transaction = begin(pool).await?;
        let letters = take(&mut transaction, order, State::Open).await?;
        let total = letters.len() as i32;
        sqlx::query!(
            "with taken as (
             update dead_letters set state = 'replaying', replay = $1 where letter = any($2)
         ), replay as (
             insert into replays (replay, state, by, reason, filter, total, canary, rate, started_at, next_at)
             values ($1, 'running', $3, $4, $5, $6, $7, $8, $9, $9)
         )
         insert into replay_letters (replay, place, letter, state)
         select $1, place, letter, 'waiting' from unnest($2::uuid[]) with ordinality as l (letter, place)",
            replay,
            &letters,
            order.by,
            order.reason,
            Json(order.filter.audited()) as _,
            total,
            pace.canary,
            pace.rate,
            now,
        )
        .execute(&mut *transaction)
        .await
        .doing("beginning a replay")?;
        let result = json!({ "canary": pace.canary, "rate": pace.rate, "max": order.max });
        sqlx::query!(
        "insert into dead_letter_audit (at, by, action, replay, fingerprint, filter, letters, reason, result)
         values ($1, $2, 'replay', $3, $4, $5, $6, $7, $8)",
        now,
        order.by,
        replay,
        order.filter.fingerprint,
        Json(order.filter.audited()) as _,
        total,
        order.reason,
        result,
    )
        .execute(&mut *transaction)
        .await
        .doing("recording an act")?;
        commit(transaction).await?;
        Ok((replay, total.into()))
    })
    .await
}

pub async fn pause(pool: &Pool, replay: Uuid, by: &str, now: OffsetDateTime) -> Result<(), Error> {
    turn(pool, replay, ("running", "paused"), ("pause", by), now).await
}

pub async fn resume(pool: &Pool, replay: Uuid, by: &str, now: OffsetDateTime) -> Result<(), Error> {
    turn(pool, replay, ("paused", "running"), ("resume", by), now).await
}

async fn turn(
    pool: &Pool,
    replay: Uuid,
    (from, to): (&'static str, &str),
    (action, by): (&str, &str),
    now: OffsetDateTime,
) -> Result<(), Error> {
    somebody(by)?;
    let mut transaction = begin(pool).await?;
    let turned = sqlx::query!(
        "update replays set state = $3, next_at = greatest(next_at, $4) where replay = $1 and state = $2",
        replay,
        from,
        to,
        now,
    )
    .execute(&mut *transaction)
    .await
    .doing("turning a replay")?
    .rows_affected();
    if turned == 0 {
        return Err(not_so(&mut transaction, replay, from).await?);
    }
    record_of_replay(&mut transaction, replay, (action, by), 0, now).await?;
    Ok(commit(transaction).await?)
}

async fn not_so(
    connection: &mut PgConnection,
    replay: Uuid,
    wanted: &'static str,
) -> Result<Error, db::Error> {
    let state = sqlx::query_scalar!("select state from replays where replay = $1", replay)
        .fetch_optional(connection)
        .await
        .doing("looking at a replay")?;
    let found = state.map_or_else(|| "which is none".to_owned(), |state| format!("which is {state}"));
    Ok(Error::Replay { replay, wanted, found })
}

async fn record_of_replay(
    connection: &mut PgConnection,
    replay: Uuid,
    (action, by): (&str, &str),
    letters: i64,
    now: OffsetDateTime,
) -> Result<(), db::Error> {
    sqlx::query!(
        "insert into dead_letter_audit (at, by, action, replay, letters) values ($1, $2, $3, $4, $5)",
        now,
        by,
        action,
        replay,
        letters as i32,
    )
    .execute(connection)
    .await
    .doing("recording an act")?;
    Ok(())
}

/// Ends a replay: what has not gone out is open again, what has keeps its way. Returns how many are open again.
pub async fn cancel(pool: &Pool, replay: Uuid, by: &str, now: OffsetDateTime) -> Result<i64, Error> {
    again(async || {
    somebody(by)?;
    let mut transaction = begin(pool).await?;
    let running = sqlx::query_scalar!(
        r#"select true as "running!" from replays where replay = $1 and state in ('running', 'paused') for update"#,
        replay,
    )
    .fetch_optional(&mut *transaction)
    .await
    .doing("looking at a replay")?;
    if running.is_none() {
        return Err(not_so(&mut transaction, replay, "running or paused").await?);
    }
    let released = give_back(&mut transaction, replay, None, "cancelled", now).await? as i64;
    record_of_replay(&mut transaction, replay, ("cancel", by), released, now).await?;
    end(&mut transaction, replay, "cancelled", None, now).await?;
    commit(transaction).await?;
    Ok(released)
    })
    .await
}

/// Opens letters again that a replay put back long ago and whose outcome never came: somebody purged their queue. Safe in
/// any case, for a message has one effect however often it comes. Returns how many.
pub async fn release(
    pool: &Pool,
    replay: Uuid,
    published_before: OffsetDateTime,
    by: &str,
    now: OffsetDateTime,
) -> Result<i64, Error> {
    again(async || {
        somebody(by)?;
        let mut transaction = begin(pool).await?;
        let known = sqlx::query_scalar!(r#"select true as "known!" from replays where replay = $1"#, replay)
            .fetch_optional(&mut *transaction)
            .await
            .doing("looking at a replay")?;
        if known.is_none() {
            return Err(not_so(&mut transaction, replay, "known").await?);
        }
        let released = sqlx::query!(
            "with released as (
             update replay_letters set state = 'released', outcome = 'its outcome never came', settled_at = $3
             where replay = $1 and state = 'published' and published_at < $2 returning letter
         )
         update dead_letters set state = 'open'
         where letter in (select letter from released) and state = 'replaying' and replay = $1",
            replay,
            published_before,
            now,
        )
        .execute(&mut *transaction)
        .await
        .doing("opening letters again")?
        .rows_affected() as i64;
        record_of_replay(&mut transaction, replay, ("release", by), released, now).await?;
        commit(transaction).await?;
        Ok(released)
    })
    .await
}

/// Closes letters that nothing is to be done about. Returns how many.
pub async fn discard(pool: &Pool, order: &Order, now: OffsetDateTime) -> Result<i64, Error> {
    again(async || {
    let mut transaction = begin(pool).await?;
    let letters = take(&mut transaction, order, State::Open).await?;
    sqlx::query!(
        "update dead_letters set state = 'discarded', closed_at = $2, closed_by = $3, outcome = $4 where letter = any($1)",
        &letters,
        now,
        order.by,
        order.reason,
    )
    .execute(&mut *transaction)
    .await
    .doing("discarding letters")?;
    record_of_letters(&mut transaction, "discard", order, &letters, now).await?;
    commit(transaction).await?;
    Ok(letters.len() as i64)
    })
    .await
}

/// Opens discarded letters again. Returns how many. What was erased has nothing left to be put back.
pub async fn undo(pool: &Pool, order: &Order, now: OffsetDateTime) -> Result<i64, Error> {
    again(async || {
    let mut transaction = begin(pool).await?;
    let letters = take(&mut transaction, order, State::Discarded).await?;
    let erased = sqlx::query_scalar!(
        r#"select count(*) as "count!" from dead_letters where letter = any($1) and erased_at is not null"#,
        &letters,
    )
    .fetch_one(&mut *transaction)
    .await
    .doing("looking for erased letters")?;
    if erased > 0 {
        return Err(Error::Erased(erased));
    }
    sqlx::query!(
        "update dead_letters set state = 'open', closed_at = null, closed_by = null, outcome = null where letter = any($1)",
        &letters,
    )
    .execute(&mut *transaction)
    .await
    .doing("taking letters back")?;
    record_of_letters(&mut transaction, "undo", order, &letters, now).await?;
    commit(transaction).await?;
    Ok(letters.len() as i64)
    })
    .await
}

/// Each of the letters finds the act in its audit.
async fn record_of_letters(
    connection: &mut PgConnection,
    action: &str,
    order: &Order,
    letters: &[Uuid],
    now: OffsetDateTime,
) -> Result<(), db::Error> {
    sqlx::query!(
        "with act as (
             insert into dead_letter_audit (at, by, action, letter, fingerprint, filter, letters, reason)
             values ($1, $2, $3, $4, $5, $6, $7, $8) returning number
         )
         insert into dead_letter_audit_letters (letter, number) select letter, number from act, unnest($9::uuid[]) as l (letter)",
        now,
        order.by,
        action,
        letters.first().filter(|_| letters.len() == 1).copied(),
        order.filter.fingerprint,
        Json(order.filter.audited()) as _,
        letters.len() as i32,
        order.reason,
        letters,
    )
    .execute(connection)
    .await
    .doing("recording an act")?;
    Ok(())
}

/// Writes something down about a letter, or about a kind of them.
pub async fn note(
    pool: &Pool,
    about: &About,
    by: &str,
    text: &str,
    now: OffsetDateTime,
) -> Result<(), Error> {
    somebody(by)?;
    let (letter, fingerprint) = match about {
        About::Letter(letter) => (Some(*letter), None),
        About::Fingerprint(fingerprint) => (None, Some(fingerprint.as_str())),
    };
    let written = sqlx::query!(
        "insert into dead_letter_audit (at, by, action, letter, fingerprint, reason)
         select $1, $2, 'note', $3, $4, $5
         where exists (select from dead_letters where letter = $3) or exists (select from fingerprints where fingerprint = $4)",
        now,
        by,
        letter,
        fingerprint,
        text,
    )
    .execute(pool)
    .await
    .doing("writing a note")?;
    match (written.rows_affected(), letter) {
        (0, Some(letter)) => Err(Error::Unknown(letter)),
        (0, None) => Err(Error::Nothing { wanted: State::Open }),
        _ => Ok(()),
    }
}

/// Writes down what changed no letter.
pub async fn record(pool: &Pool, record: &Record, now: OffsetDateTime) -> Result<(), Error> {
    somebody(&record.by)?;
    sqlx::query!(
        "insert into dead_letter_audit (at, by, action, filter, letters, reason, result) values ($1, $2, $3, $4, $5, $6, $7)",
        now,
        record.by,
        record.action,
        record.filter,
        record.letters.map(|letters| letters as i32),
        record.reason,
        record.result,
    )
    .execute(pool)
    .await
    .doing("recording an act")?;
    Ok(())
}

/// Closes a letter, and opens another that says what the edit says: under a message id of its own, linked both ways.
/// Returns the new letter.
pub async fn edit(
    pool: &Pool,
    edit: &Edit,
    subject: &crate::Subject,
    now: OffsetDateTime,
) -> Result<Uuid, Error> {
    again(async || {
    let mut transaction = begin(pool).await?;
    let order = Order {
        by: edit.by.clone(),
        reason: Some(edit.reason.clone()),
        filter: Filter::letter(edit.letter),
        expected: Some(1),
        max: None,
    };
    take(&mut transaction, &order, State::Open).await?;
    let new = Uuid::now_v7();
    let cause = subject.cause.as_ref();
    let key = key(&[b"edit", new.as_bytes()]);
    sqlx::query!(
        "insert into dead_letters (letter, key, state, worker, queue, code, reason, fingerprint, attempts, first_failed_at,
             dead_at, recorded_at, exchange, routing_key, message_id, content_type, user_id, headers, body, traceparent,
             fact_type, source, id, account, payment, amount, currency, credits, previous, diff)
         select $2, $3, 'open', worker, queue, code, reason, fingerprint, attempts, first_failed_at, dead_at, $4, exchange,
             routing_key, $2::uuid::text, content_type, user_id, headers, $5, traceparent, $6, $7, $8, $9, $10, $11, $12, $13,
             letter, $14
         from dead_letters where letter = $1",
        edit.letter,
        new,
        key.as_slice(),
        now,
        edit.body,
        subject.fact_type,
        cause.map(|cause| cause.source.as_str()),
        cause.map(|cause| cause.id.as_str()),
        subject.account,
        subject.payment,
        subject.money.map(|money| money.amount()),
        subject.money.map(|money| money.currency().code()),
        subject.credits.map(|credits| credits.decimal()),
        edit.diff,
    )
    .execute(&mut *transaction)
    .await
    .doing("opening an edited letter")?;
    sqlx::query!(
        "update dead_letters set state = 'edited', closed_at = $2, closed_by = $3, outcome = $4 where letter = $1",
        edit.letter,
        now,
        edit.by,
        format!("goes on as {new}"),
    )
    .execute(&mut *transaction)
    .await
    .doing("closing an edited letter")?;
    let result = json!({ "new": new, "agreed_by": edit.agreed_by, "diff": edit.audited });
    for letter in [edit.letter, new] {
        sqlx::query!(
            "insert into dead_letter_audit (at, by, action, letter, letters, reason, result)
             values ($1, $2, 'edit', $3, 1, $4, $5)",
            now,
            edit.by,
            letter,
            edit.reason,
            result,
        )
        .execute(&mut *transaction)
        .await
        .doing("recording an edit")?;
    }
    commit(transaction).await?;
    Ok(new)
    })
    .await
}

/// Empties the closed letters of a cause or an account, and of what they were before or became by an edit or a replay, for
/// good: bodies, headers, what an edit changed, and whatever a reason quotes. The letters stay. Safe to repeat.
pub async fn erase(pool: &Pool, whose: &Whose, by: &str, now: OffsetDateTime) -> Result<Erased, Error> {
    let (sources, ids): (Vec<&str>, Vec<&str>) =
        whose.causes().iter().map(|cause| (cause.source.as_str(), cause.id.as_str())).unzip();
    again(async || {
    somebody(by)?;
    let mut transaction = begin(pool).await?;
    let rows = sqlx::query!(
        r#"with recursive meant as (
               select letter, previous from dead_letters
               where (source, id) in (select * from unnest($1::text[], $2::text[]))
               union
               select letter, previous from dead_letters
               where ($4::timestamptz is null or dead_at < $4)
                 and (account = $3 or payment in (select i.id from payments p join payment_ids i using (payment)
                                                  where p.account = $3))
               union
               select l.letter, l.previous from dead_letters l join meant m on l.letter = m.previous or l.previous = m.letter
           )
           select letter as "letter!", closed_at is not null as "is_closed!" from dead_letters
           where letter in (select letter from meant) and erased_at is null order by letter for update"#,
        &sources as _,
        &ids as _,
        whose.account(),
        whose.before(),
    )
    .fetch_all(&mut *transaction)
    .await
    .doing("finding letters to be erased")?;
    let of = |is_closed| rows.iter().filter(move |row| row.is_closed == is_closed).map(|row| row.letter);
    let erased = Erased { emptied: of(true).collect(), left: of(false).collect() };
    if erased == Erased::default() {
        return Ok(erased);
    }
    let masked = masked(&mut transaction, &erased.emptied).await?;
    sqlx::query!(
        "update dead_letters l
         set body = '', headers = '{}', unreadable = null, diff = null, reason = m.reason, attempts = m.attempts, erased_at = $4
         from unnest($1::uuid[], $2::text[], $3::json[]) as m (letter, reason, attempts) where l.letter = m.letter",
        &masked.letters,
        &masked.reasons,
        &masked.attempts as _,
        now,
    )
    .execute(&mut *transaction)
    .await
    .doing("erasing letters")?;
    sqlx::query!(
        "with act as (
             insert into dead_letter_audit (at, by, action, letter, filter, letters, result)
             values ($1, $2, 'erase', $3, $4, $5, $6) returning number
         )
         insert into dead_letter_audit_letters (letter, number) select letter, number from act, unnest($7::uuid[]) as l (letter)",
        now,
        by,
        erased.emptied.first().filter(|_| erased.emptied.len() == 1).copied(),
        whose.audited(),
        erased.emptied.len() as i32,
        json!({ "emptied": erased.emptied, "left": erased.left }),
        &erased.emptied,
    )
    .execute(&mut *transaction)
    .await
    .doing("recording an act")?;
    commit(transaction).await?;
    Ok(erased)
    })
    .await
}

/// What stays of why letters died: the kind of failure, without what was quoted of the message.
#[derive(Default)]
struct Masked {
    letters: Vec<Uuid>,
    reasons: Vec<String>,
    attempts: Vec<Json<Vec<Attempt>>>,
}

async fn masked(connection: &mut PgConnection, letters: &[Uuid]) -> Result<Masked, db::Error> {
    let rows = sqlx::query!(
        r#"select letter, reason, attempts as "attempts: Json<Vec<Attempt>>" from dead_letters where letter = any($1)"#,
        letters,
    )
    .fetch_all(connection)
    .await
    .doing("reading why letters died")?;
    let mut masked = Masked::default();
    for row in rows {
        let why = |attempt: Attempt| Attempt { why: fingerprint::masked(&attempt.why), ..attempt };
        masked.letters.push(row.letter);
        masked.reasons.push(fingerprint::masked(&row.reason));
        masked.attempts.push(Json(row.attempts.0.into_iter().map(why).collect()));
    }
    Ok(masked)
}
