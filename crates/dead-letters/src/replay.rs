//! Carrying replays out: messages go back into the queues they came from, oldest first, at the rate that was asked for.
//!
//! An operator only says what is to be replayed; any number of processes carry it out, one step at a time. A step claims
//! the replay, publishes, waits for the confirms and commits: a crash in between publishes a message twice, which
//! its worker makes harmless, and never forgets one. An operator who pauses or cancels the replay does not
//! wait for a step, which may wait for a broker that confirms nothing. The outcome of each message comes back by the queue of dead
//! letters.

mod store;

use bus::{Message, Namespace, PublishError, Publisher};
use db::{Doing, PgConnection, Pool};
use facts::Readers;
use jobs::{Found, Pass};
use std::sync::Arc;
use std::time::Duration;
use store::{Claimed, Followed, ReplayCounts, Waiting};
use time::OffsetDateTime;
use tokio::sync::Mutex;
use uuid::Uuid;

pub(crate) use store::{end, release};

/// How often to look for what is due, and for outcomes while nothing may be published without them.
const WATCH: Duration = Duration::from_millis(100);

/// A step that takes longer waits for an answer that does not come. It is made again: what it published goes out twice.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A round over all replays that are due, each within [`TIME_LIMIT`].
const PASS_LIMIT: Duration = Duration::from_secs(600);

/// Messages in one step.
const STEP: i64 = 500;

/// Messages that were put back and are not settled: more would only wait in the queue.
const IN_HAND_MAX: i64 = 5_000;

/// Steps a second where a rate is asked for: so that 20 messages a second are no burst of 20 each second.
const STEPS_PER_SECOND: f64 = 10.0;

#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Database(#[from] db::Error),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// What a replay does next.
#[derive(Debug, Clone, Copy, PartialEq)]
enum NextStep {
    /// Publish so many, then pause.
    Publish(i64, Duration),
    /// Nothing can be done before some outcome is known.
    Wait,
    /// The canary failed again.
    Stop,
    /// Every outcome is known.
    Finish,
}

/// Puts back what is due. Any number of processes may.
pub fn put_back(namespace: Namespace, pool: Pool, publisher: Publisher) -> Pass {
    Pass::new("replays", WATCH, PASS_LIMIT, move || {
        let (namespace, pool, publisher) = (namespace.clone(), pool.clone(), publisher.clone());
        async move { step_all(&namespace, &pool, &publisher).await.map(Found::more_if) }
    })
}

/// Makes one step of each replay that is due; returns whether one of them went on.
async fn step_all(namespace: &Namespace, pool: &Pool, publisher: &Publisher) -> Result<bool, StepError> {
    let mut goes_on = false;
    for replay in store::due(pool, OffsetDateTime::now_utc()).await? {
        let stepped = tokio::time::timeout(TIME_LIMIT, step(namespace, pool, publisher, replay)).await;
        let silent = db::Error::Silent { doing: "making a step of a replay", limit: TIME_LIMIT };
        goes_on |= stepped.unwrap_or_else(|_| Err(silent.into()))?;
    }
    Ok(goes_on)
}

/// Follows the facts of what was put back and passed on, to their last reader: from one end to the other, and again, so that
/// those whose outcome does not come hide none of the others. Any number of processes may.
pub fn follow(pool: Pool, readers: Readers) -> Pass {
    let after = Arc::new(Mutex::new(None));
    Pass::new("replayed_facts", WATCH, TIME_LIMIT, move || {
        let (pool, readers, after) = (pool.clone(), readers.clone(), after.clone());
        async move {
            let mut after = after.lock().await;
            let Followed { last, closed } =
                store::follow(&pool, &readers, *after, OffsetDateTime::now_utc()).await?;
            *after = last;
            // There may be more to close: look on without a rest.
            Ok::<_, db::Error>(Found::more_if(last.is_some() && closed > 0))
        }
    })
}

/// Makes one step of a replay; returns whether it went on. While nothing can be done before some outcome is known, nothing is written.
async fn step(
    namespace: &Namespace,
    pool: &Pool,
    publisher: &Publisher,
    replay: Uuid,
) -> Result<bool, StepError> {
    let now = OffsetDateTime::now_utc();
    let mut transaction = pool.begin().await.doing("beginning a step of a replay")?;
    let connection = &mut *transaction;
    let Some(claimed) = store::claim(connection, replay, now).await? else { return Ok(false) };
    let canary = claimed.canary.map_or(0, i64::from);
    let enough = (STEP, canary.max(IN_HAND_MAX) + 1, canary.saturating_add(1));
    let counts = store::counts(connection, replay, enough).await?;
    match next(&claimed, counts) {
        NextStep::Publish(count, pause) => {
            let letters = store::waiting(connection, replay, count).await?;
            let sent = SentMessages::of(namespace, publisher, &letters).await;
            // What a late step missed the next ones make up for, but not more than a second of it.
            let due = claimed.next_at.max(now - Duration::from_secs(1)) + pause;
            note_sent(connection, replay, &sent, due, now).await?;
            transaction.commit().await.doing("committing a step of a replay")?;
            sent.failure.map_or(Ok(true), |error| Err(error.into()))
        }
        NextStep::Wait => Ok(false),
        // Cancelled meanwhile.
        NextStep::Stop | NextStep::Finish if !store::is_running(connection, replay).await? => Ok(false),
        NextStep::Stop => {
            stop(connection, replay, now).await?;
            transaction.commit().await.doing("stopping a replay")?;
            metrics::counter!("bursar_replays_total", "result" => "stopped").increment(1);
            tracing::error!(%replay, "a replay was stopped: its canary failed again");
            Ok(true)
        }
        NextStep::Finish => {
            end(connection, replay, "finished", None, now).await?;
            transaction.commit().await.doing("finishing a replay")?;
            let result = if counts.dead_again > 0 { "failed_again" } else { "resolved" };
            metrics::counter!("bursar_replays_total", "result" => result).increment(1);
            tracing::info!(%replay, "replayed");
            Ok(true)
        }
    }
}

/// What became of the messages of one step.
#[derive(Default)]
struct SentMessages<'a> {
    published: Vec<&'a Waiting>,
    /// Their queue is not there.
    unroutable: Vec<Uuid>,
    /// Why some of them may not have gone out: they wait for the next step.
    failure: Option<PublishError>,
}

impl<'a> SentMessages<'a> {
    /// Publishes the messages of these letters, and waits until the broker has confirmed them.
    async fn of(namespace: &Namespace, publisher: &Publisher, letters: &'a [Waiting]) -> Self {
        let messages: Vec<Message> =
            letters.iter().map(|letter| letter.message.replay(namespace, &letter.queue)).collect();
        let mut sent = Self::default();
        for (letter, outcome) in letters.iter().zip(publisher.publish(messages).await) {
            match outcome {
                Ok(()) => sent.published.push(letter),
                Err(PublishError::Unroutable { .. }) => sent.unroutable.push(letter.letter),
                Err(
                    error
                    @ (PublishError::Unavailable(_) | PublishError::Objected(_) | PublishError::Refused),
                ) => sent.failure = Some(error),
            }
        }
        sent
    }
}

/// Notes what went out. The replay's row is locked before its letters, as a cancelling operator locks them.
async fn note_sent(
    connection: &mut PgConnection,
    replay: Uuid,
    sent: &SentMessages<'_>,
    due: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<(), db::Error> {
    store::due_at(connection, replay, due).await?;
    store::published(connection, replay, &sent.published).await?;
    release(connection, replay, Some(&sent.unroutable), "its queue is not there", now).await?;
    Ok(())
}

/// Gives back what has not gone out, and ends the replay.
async fn stop(connection: &mut PgConnection, replay: Uuid, now: OffsetDateTime) -> Result<(), db::Error> {
    let why = "a canary failed again";
    release(connection, replay, None, why, now).await?;
    end(connection, replay, "stopped", Some(why), now).await
}

fn next(replay: &Claimed, counts: ReplayCounts) -> NextStep {
    let gone = counts.published + counts.resolved + counts.dead_again;
    let canary = replay.canary.map(i64::from).filter(|canary| gone <= *canary && counts.waiting > 0);
    let allowed = match canary {
        Some(canary) if gone < canary => canary - gone,
        Some(_) if counts.dead_again > 0 => return NextStep::Stop,
        Some(_) if counts.published > 0 => return NextStep::Wait,
        Some(_) | None => IN_HAND_MAX - counts.published,
    };
    match (counts.waiting, counts.published) {
        (0, 0) => NextStep::Finish,
        (0, _) => NextStep::Wait,
        _ if allowed <= 0 => NextStep::Wait,
        _ => {
            let step = at_rate(replay.rate);
            let count = step.0.min(allowed).min(counts.waiting);
            NextStep::Publish(count, step.1)
        }
    }
}

/// How many at once, and how long until the next.
#[expect(clippy::float_arithmetic, reason = "a rate is no amount")]
fn at_rate(rate: Option<f64>) -> (i64, Duration) {
    let Some(rate) = rate else { return (STEP, Duration::ZERO) };
    let count = (rate / STEPS_PER_SECOND).ceil().clamp(1.0, STEP as f64);
    (count as i64, Duration::from_secs_f64(count / rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canary_goes_first_and_the_rest_only_after_it_succeeded() {
        let check = |canary, [waiting, published, resolved, dead_again]: [i64; 4], expect| {
            let replay =
                Claimed { replay: Uuid::nil(), canary, rate: None, next_at: OffsetDateTime::UNIX_EPOCH };
            let counts = ReplayCounts { waiting, published, resolved, dead_again };
            assert_eq!(next(&replay, counts), expect, "{canary:?} {counts:?}");
        };
        let publish = |count| NextStep::Publish(count, Duration::ZERO);
        check(None, [1000, 0, 0, 0], publish(500));
        check(None, [10, 0, 0, 0], publish(10));
        check(None, [10, 5_000, 0, 0], NextStep::Wait);
        check(None, [0, 1, 9, 0], NextStep::Wait);
        check(None, [0, 0, 9, 1], NextStep::Finish);
        check(Some(5), [1000, 0, 0, 0], publish(5));
        check(Some(5), [997, 3, 0, 0], publish(2));
        check(Some(5), [995, 3, 2, 0], NextStep::Wait);
        check(Some(5), [995, 0, 4, 1], NextStep::Stop);
        check(Some(5), [995, 2, 2, 1], NextStep::Stop);
        check(Some(5), [995, 0, 5, 0], publish(500));
        check(Some(5), [900, 90, 5, 5], publish(500));
        check(Some(5), [0, 0, 3, 0], NextStep::Finish);
    }

    #[test]
    fn a_rate_is_kept_without_bursts() {
        let check = |rate, count, millis| {
            assert_eq!(at_rate(Some(rate)), (count, Duration::from_millis(millis)), "{rate}");
        };
        check(20.0, 2, 100);
        check(1.0, 1, 1_000);
        check(0.5, 1, 2_000);
        check(1_000.0, 100, 100);
        check(100_000.0, 500, 5);
    }
}
