//! SQL of the worker: letters as they come, and how replays went.

mod columns;

pub(crate) use columns::Distinct;

use bus::ReplayOutcome;
use columns::{Deaths, KindColumns, LastWords, Origins, Properties, Subjects};
use db::{Doing, Error, Work};
use uuid::Uuid;

/// Opens letters again that were closed and have died since, whatever for this time: those that were resolved, and those
/// that went on as other letters, and those as others, of which none is left to be dealt with. What was discarded stays so: it
/// says nothing new. Nor does a copy of a death that is known: it is of the same moment. Another is another death, also an
/// earlier one: which of two machines' clocks is ahead nobody knows, and rather one letter too many than a death unseen.
pub(crate) async fn reopen(work: &mut Work, letters: &Distinct<'_>) -> Result<(), Error> {
    if letters.is_empty() {
        return Ok(());
    }
    let Deaths { keys, dead, codes, reasons, fingerprints, attempts, headers, bodies } = Deaths::of(letters);
    sqlx::query!(
        "update dead_letters d
         set state = 'open', closed_at = null, closed_by = null, outcome = null, replay = null, erased_at = null,
             dead_at = n.dead_at, code = n.code, reason = n.reason, fingerprint = n.fingerprint, attempts = n.attempts,
             headers = n.headers, body = n.body
         from unnest($1::bytea[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::json[], $7::json[], $8::bytea[])
           as n (key, dead_at, code, reason, fingerprint, attempts, headers, body)
         where d.key = n.key and d.state in ('resolved', 'dead_again', 'edited') and n.dead_at <> d.dead_at
           and not exists (
               with recursive later as (
                   select letter, state from dead_letters where previous = d.letter
                   union
                   select s.letter, s.state from dead_letters s join later on s.previous = later.letter
               )
               select from later where state in ('open', 'replaying', 'discarded'))",
        &keys as _,
        &dead,
        &codes as _,
        &reasons as _,
        &fingerprints,
        &attempts as _,
        &headers as _,
        &bodies as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("opening letters again")?;
    Ok(())
}

/// Records letters. One that is there already counts once more.
pub(crate) async fn record(work: &mut Work, letters: &Distinct<'_>) -> Result<(), Error> {
    if letters.is_empty() {
        return Ok(());
    }
    record_kinds(work, &KindColumns::of(letters)).await?;
    insert(
        work,
        &Deaths::of(letters),
        &Origins::of(letters),
        &Properties::of(letters),
        &Subjects::of(letters),
    )
    .await
}

async fn insert(
    work: &mut Work,
    deaths: &Deaths<'_>,
    origins: &Origins<'_>,
    properties: &Properties<'_>,
    subjects: &Subjects<'_>,
) -> Result<(), Error> {
    let now = work.now;
    sqlx::query_file!(
        "src/store/insert.sql",
        &origins.ids,
        &deaths.keys as _,
        &origins.workers as _,
        &origins.queues as _,
        &deaths.codes as _,
        &deaths.reasons as _,
        &deaths.fingerprints,
        &deaths.attempts as _,
        &origins.first_failed,
        &deaths.dead,
        &origins.copies,
        &properties.exchanges as _,
        &properties.routing_keys as _,
        &properties.message_ids as _,
        &properties.content_types as _,
        &properties.users as _,
        &deaths.headers as _,
        &deaths.bodies as _,
        &subjects.traces as _,
        &subjects.types as _,
        &subjects.sources as _,
        &subjects.fact_ids as _,
        &subjects.accounts as _,
        &subjects.payments as _,
        &subjects.amounts as _,
        &subjects.currencies as _,
        &subjects.credits as _,
        now,
        &origins.previous as _,
        &origins.replays as _,
        &properties.unreadable as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("recording dead letters")?;
    Ok(())
}

/// Remembers kinds of failures that were never seen before; the watcher of alerts raises an alert for each.
async fn record_kinds(work: &mut Work, kinds: &KindColumns<'_>) -> Result<(), Error> {
    let now = work.now;
    sqlx::query!(
        "insert into fingerprints (fingerprint, worker, fact_type, code, reason, first_seen)
         select distinct on (fingerprint) fingerprint, worker, fact_type, code, reason, $6
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
           as f (fingerprint, worker, fact_type, code, reason)
         order by fingerprint
         on conflict do nothing",
        &kinds.fingerprints,
        &kinds.workers as _,
        &kinds.types as _,
        &kinds.codes as _,
        &kinds.reasons,
        now,
    )
    .execute(work.connection().await?)
    .await
    .doing("recording fingerprints")?;
    Ok(())
}

/// Closes the letters of replays whose outcome is known now: resolved, or dead again, which has the last word.
pub(crate) async fn settle_replays(
    work: &mut Work,
    letters: &Distinct<'_>,
    outcomes: &[&ReplayOutcome],
) -> Result<(), Error> {
    let (passed_on, last_words): (Vec<&ReplayOutcome>, Vec<&ReplayOutcome>) =
        outcomes.iter().partition(|outcome| !outcome.is_last_word());
    note_passed_on(work, &passed_on).await?;
    let words = LastWords::of(letters, &last_words);
    if words.letters.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "with settled as (
             select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[])
               as s (letter, replay, state, outcome, at)
         ), letters as (
             update dead_letters l
             set state = s.state, outcome = s.outcome, closed_at = s.at, closed_by = 'replay ' || s.replay
             from settled s
             where l.letter = s.letter and l.replay = s.replay
               and (l.state in ('replaying', 'open') or l.state = 'resolved' and s.state = 'dead_again')
         )
         update replay_letters r set state = s.state, outcome = s.outcome, settled_at = s.at
         from settled s
         where r.letter = s.letter and r.replay = s.replay
           and (r.state in ('waiting', 'published', 'released') or s.state = 'dead_again')",
        &words.letters,
        &words.replays,
        &words.states as _,
        &words.outcomes,
        &words.times,
    )
    .execute(work.connection().await?)
    .await
    .doing("settling replays")?;
    Ok(())
}

/// Such a letter stays in its replay's hands, which follows its fact.
async fn note_passed_on(work: &mut Work, outcomes: &[&ReplayOutcome]) -> Result<(), Error> {
    if outcomes.is_empty() {
        return Ok(());
    }
    let letters: Vec<Uuid> = outcomes.iter().map(|outcome| outcome.replayed.letter).collect();
    let replays: Vec<Uuid> = outcomes.iter().map(|outcome| outcome.replayed.replay).collect();
    let results: Vec<&str> = outcomes.iter().map(|outcome| outcome.outcome.as_str()).collect();
    sqlx::query!(
        "update replay_letters r set outcome = o.outcome
         from unnest($1::uuid[], $2::uuid[], $3::text[]) as o (letter, replay, outcome)
         where r.letter = o.letter and r.replay = o.replay and r.state in ('waiting', 'published')",
        &letters,
        &replays,
        &results as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("noting how far replays are")?;
    Ok(())
}
