//! SQL of the worker: letters as they come, and how replays went.

use crate::Letter;
use crate::letter::AsItCame;
use bus::{Attempt, ReplayOutcome};
use db::{Doing, Error, Work};
use rust_decimal::Decimal;
use sqlx::types::Json;
use std::borrow::Cow;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// The letters of a batch, each once.
pub(crate) struct Distinct<'a>(BTreeMap<[u8; 32], Counted<'a>>);

struct Counted<'a> {
    letter: &'a Letter,
    copies: i32,
}

impl<'a> Distinct<'a> {
    pub fn of(letters: &[&'a Letter]) -> Self {
        let mut distinct: BTreeMap<[u8; 32], Counted<'a>> = BTreeMap::new();
        for letter in letters {
            distinct
                .entry(letter.key())
                .and_modify(|counted| counted.copies += 1)
                .or_insert(Counted { letter, copies: 1 });
        }
        Self(distinct)
    }

    fn column<T>(&self, value: impl Fn(&'a Letter) -> T) -> Vec<T> {
        self.0.values().map(|counted| value(counted.letter)).collect()
    }
}

/// What Postgres can hold as text.
fn text(text: &str) -> Cow<'_, str> {
    match text.contains('\0') {
        true => Cow::Owned(text.replace('\0', "\u{fffd}")),
        false => Cow::Borrowed(text),
    }
}

fn text_of(value: Option<&String>) -> Option<Cow<'_, str>> {
    value.map(|value| text(value))
}

fn headers_of(letter: &Letter) -> BTreeMap<Cow<'_, str>, Cow<'_, str>> {
    letter.message.headers.iter().map(|(name, value)| (text(name), text(value))).collect()
}

fn attempts_of(letter: &Letter) -> Vec<Attempt> {
    letter.attempts.iter().map(|made| Attempt { at: made.at, why: text(&made.why).into_owned() }).collect()
}

/// What a death says that may be another the next time, by column.
struct Deaths<'a> {
    keys: Vec<&'a [u8]>,
    dead: Vec<OffsetDateTime>,
    codes: Vec<Cow<'a, str>>,
    reasons: Vec<Cow<'a, str>>,
    fingerprints: Vec<String>,
    attempts: Vec<Json<Vec<Attempt>>>,
    headers: Vec<Json<BTreeMap<Cow<'a, str>, Cow<'a, str>>>>,
    bodies: Vec<&'a [u8]>,
}

impl<'a> Deaths<'a> {
    fn of(letters: &'a Distinct<'a>) -> Self {
        Self {
            keys: letters.0.keys().map(<[u8; 32]>::as_slice).collect(),
            dead: letters.column(|letter| letter.dead_at),
            codes: letters.column(|letter| text(&letter.code)),
            reasons: letters.column(|letter| text(&letter.reason)),
            fingerprints: letters.column(Letter::fingerprint),
            attempts: letters.column(|letter| Json(attempts_of(letter))),
            headers: letters.column(|letter| Json(headers_of(letter))),
            bodies: letters.column(|letter| letter.message.body.as_slice()),
        }
    }
}

/// Opens letters again that were closed and have died since, whatever for this time: those that were resolved, and those
/// that went on as other letters, and those as others, of which none is left to be dealt with. What was discarded stays so: it
/// says nothing new. Nor does a copy of a death that is known: it is of the same moment. Another is another death, also an
/// earlier one: which of two machines' clocks is ahead nobody knows, and rather one letter too many than a death unseen.
pub(crate) async fn reopen(work: &mut Work, letters: &Distinct<'_>) -> Result<(), Error> {
    if letters.0.is_empty() {
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

/// Records letters. One that is there already counts.
pub(crate) async fn record(work: &mut Work, letters: &Distinct<'_>) -> Result<(), Error> {
    if letters.0.is_empty() {
        return Ok(());
    }
    record_fingerprints(work, letters).await?;
    let now = work.now;
    // Sorted by key, as every batch is: two that meet do not wait for each other in a circle.
    let Deaths { keys, dead, codes, reasons, fingerprints, attempts, headers, bodies } = Deaths::of(letters);
    let copies: Vec<i32> = letters.0.values().map(|counted| counted.copies).collect();
    let ids = letters.column(|_| Uuid::now_v7());
    let workers = letters.column(|letter| text(&letter.worker));
    let queues = letters.column(|letter| text(&letter.queue));
    let first_failed = letters.column(|letter| letter.first_failed_at);
    let exchanges = letters.column(|letter| text(&letter.message.exchange));
    let routing_keys = letters.column(|letter| text(&letter.message.routing_key));
    let message_ids = letters.column(|letter| text(letter.message.message_id.as_deref().unwrap_or("")));
    let content_types = letters.column(|letter| text_of(letter.message.content_type.as_ref()));
    let users = letters.column(|letter| text_of(letter.message.user_id.as_ref()));
    let traces = letters.column(|letter| letter.subject.traceparent.as_deref());
    let types = letters.column(|letter| text_of(letter.subject.fact_type.as_ref()));
    let sources = letters.column(|letter| letter.subject.cause.as_ref().map(|cause| text(&cause.source)));
    let fact_ids = letters.column(|letter| letter.subject.cause.as_ref().map(|cause| text(&cause.id)));
    let accounts = letters.column(|letter| text_of(letter.subject.account.as_ref()));
    let payments = letters.column(|letter| text_of(letter.subject.payment.as_ref()));
    let amounts: Vec<Option<Decimal>> =
        letters.column(|letter| letter.subject.money.map(|money| money.amount()));
    let currencies = letters.column(|letter| letter.subject.money.map(|money| money.currency().code()));
    let credits: Vec<Option<Decimal>> =
        letters.column(|letter| letter.subject.credits.map(|credits| credits.decimal()));
    let previous = letters.column(|letter| letter.replayed.map(|replayed| replayed.letter));
    let replays = letters.column(|letter| letter.replayed.map(|replayed| replayed.replay));
    let unreadable =
        letters.column(|letter| letter.message.unreadable.as_ref().map(|bytes| Json(bytes.into())));
    let unreadable: Vec<Option<Json<AsItCame>>> = unreadable;
    sqlx::query!(
        "insert into dead_letters (letter, key, state, worker, queue, code, reason, fingerprint, attempts, first_failed_at,
             dead_at, recorded_at, copies, exchange, routing_key, message_id, content_type, user_id, headers, body,
             traceparent, fact_type, source, id, account, payment, amount, currency, credits, previous, replay, unreadable)
         select letter, key, 'open', worker, queue, code, reason, fingerprint, attempts, first_failed_at, dead_at, $28, copies,
             exchange, routing_key, message_id, content_type, user_id, headers, body, traceparent, fact_type, source, id,
             account, payment, amount, currency, credits, previous, replay, unreadable
         from unnest($1::uuid[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::json[],
                     $9::timestamptz[], $10::timestamptz[], $11::int[], $12::text[], $13::text[], $14::text[], $15::text[],
                     $16::text[], $17::json[], $18::bytea[], $19::text[], $20::text[], $21::text[], $22::text[], $23::text[],
                     $24::text[], $25::numeric[], $26::text[], $27::numeric[], $29::uuid[], $30::uuid[], $31::json[])
           as l (letter, key, worker, queue, code, reason, fingerprint, attempts, first_failed_at, dead_at, copies, exchange,
                 routing_key, message_id, content_type, user_id, headers, body, traceparent, fact_type, source, id, account,
                 payment, amount, currency, credits, previous, replay, unreadable)
         on conflict (key) do update set
             copies = dead_letters.copies + excluded.copies, told_at = clock_timestamp(),
             dead_at = greatest(dead_letters.dead_at, excluded.dead_at)",
        &ids,
        &keys as _,
        &workers as _,
        &queues as _,
        &codes as _,
        &reasons as _,
        &fingerprints,
        &attempts as _,
        &first_failed,
        &dead,
        &copies,
        &exchanges as _,
        &routing_keys as _,
        &message_ids as _,
        &content_types as _,
        &users as _,
        &headers as _,
        &bodies as _,
        &traces as _,
        &types as _,
        &sources as _,
        &fact_ids as _,
        &accounts as _,
        &payments as _,
        &amounts as _,
        &currencies as _,
        &credits as _,
        now,
        &previous as _,
        &replays as _,
        &unreadable as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("recording dead letters")?;
    Ok(())
}

/// Kinds of failures that were never seen before are remembered, and told by the watcher of alerts.
async fn record_fingerprints(work: &mut Work, letters: &Distinct<'_>) -> Result<(), Error> {
    let now = work.now;
    let fingerprints = letters.column(Letter::fingerprint);
    let workers = letters.column(|letter| text(&letter.worker));
    let types = letters.column(Letter::fact_kind);
    let codes = letters.column(|letter| text(&letter.code));
    let reasons = letters.column(|letter| text(&crate::fingerprint::masked(&letter.reason)).into_owned());
    sqlx::query!(
        "insert into fingerprints (fingerprint, worker, fact_type, code, reason, first_seen)
         select distinct on (fingerprint) fingerprint, worker, fact_type, code, reason, $6
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
           as f (fingerprint, worker, fact_type, code, reason)
         order by fingerprint
         on conflict do nothing",
        &fingerprints,
        &workers as _,
        &types as _,
        &codes as _,
        &reasons,
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
    let mut settled: BTreeMap<(Uuid, Uuid), (&str, String, OffsetDateTime)> = BTreeMap::new();
    for outcome in last_words {
        let key = (outcome.replayed.letter, outcome.replayed.replay);
        settled.insert(key, ("resolved", text(&outcome.outcome).into_owned(), outcome.at));
    }
    for Counted { letter, .. } in letters.0.values() {
        if let Some(replayed) = letter.replayed {
            let why = text(&letter.code).into_owned();
            settled.insert((replayed.letter, replayed.replay), ("dead_again", why, letter.dead_at));
        }
    }
    if settled.is_empty() {
        return Ok(());
    }
    let letters: Vec<Uuid> = settled.keys().map(|(letter, _)| *letter).collect();
    let replays: Vec<Uuid> = settled.keys().map(|(_, replay)| *replay).collect();
    let states: Vec<&str> = settled.values().map(|(state, ..)| *state).collect();
    let results: Vec<&str> = settled.values().map(|(_, outcome, _)| outcome.as_str()).collect();
    let times: Vec<OffsetDateTime> = settled.values().map(|(.., at)| *at).collect();
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
        &letters,
        &replays,
        &states as _,
        &results as _,
        &times,
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
