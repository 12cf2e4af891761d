//! What a batch leaves behind: messages that rest on the retry ladder, dead letters, and how replays went.

use super::lane::{Lane, Stop};
use super::{Context, Worker};
use crate::backoff::Delays;
use crate::message::{Incoming, Message, header};
use crate::returned::{Address, Attempt, Part, Replayed, shortened, time_text};
use crate::topology::exchange;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use time::OffsetDateTime;

/// Together with the headers that a letter takes over from its message this stays below what a frame can hold.
const REASON_MAX: usize = 32 * 1024;

/// An item, or a whole message, that was not settled.
#[derive(Debug, Clone)]
pub(super) struct Undelivered {
    /// Out of which message of the batch.
    pub origin: usize,
    pub part: Part,
    pub code: &'static str,
    pub why: String,
    /// Nobody foresaw why: it may go well another time.
    pub again: bool,
}

/// What became of a message that a replay put back, where none of it is a dead letter again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayOutcome {
    #[serde(flatten)]
    pub replayed: Replayed,
    /// The outcomes of its facts, each once: `admitted`, `applied`.
    pub outcome: String,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// The routing key, on the exchange of dead letters, of a list of [`ReplayOutcome`]s.
pub const REPLAYED: &str = "replayed";

/// The outcomes of a batch's messages that a replay put back, by their place in the batch.
pub(super) type ReplayOutcomes = BTreeMap<usize, BTreeSet<&'static str>>;

impl<W: Worker> Lane<W> {
    /// Hands over whatever must not be lost with the acknowledgement; returns once the broker has confirmed all of it.
    pub(super) async fn hand_over(
        &self,
        messages: &[Incoming],
        undelivered: Vec<Undelivered>,
        mut outcomes: ReplayOutcomes,
    ) -> Result<(), Stop> {
        for undelivered in &undelivered {
            outcomes.remove(&undelivered.origin);
        }
        let mut parcels: Vec<Message> = undelivered
            .into_iter()
            .map(|undelivered| self.next_station(&messages[undelivered.origin], undelivered))
            .collect();
        parcels.extend(replay_outcomes(&self.context, messages, outcomes));
        self.publish_until_confirmed(parcels).await
    }

    async fn publish_until_confirmed(&self, mut parcels: Vec<Message>) -> Result<(), Stop> {
        let mut delays = Delays::for_servers();
        while !parcels.is_empty() {
            let outcomes = self.context.publisher.publish(parcels.clone()).await;
            let mut kept = outcomes.iter().map(Result::is_err);
            parcels.retain(|_| kept.next().unwrap_or(true));
            if let Some(error) = outcomes.into_iter().find_map(Result::err) {
                let delay = delays.next_delay();
                tracing::error!(worker = W::NAME, %error, retry_ms = delay.as_millis() as u64, "cannot hand over what failed");
                tokio::select! {
                    () = self.context.stop.cancelled() => return Err(Stop),
                    () = tokio::time::sleep(delay) => {}
                }
            }
        }
        Ok(())
    }

    /// The next rung of the ladder, or the dead letters.
    fn next_station(&self, origin: &Incoming, undelivered: Undelivered) -> Message {
        let now = OffsetDateTime::now_utc();
        let mut attempts = origin.attempts().to_vec();
        // Those of a dead letter are its own: it says why it died, not who had trouble with it since.
        if origin.death.is_none() {
            attempts.push(Attempt::new(now, &undelivered.why));
        }
        let ladder = &self.context.ladder;
        let rung = match (undelivered.again, W::GIVES_UP) {
            (false, true) => None,
            (true, true) => ladder.rung_after(attempts.len()),
            (_, false) => Some(ladder.last()),
        };
        // The reason may quote the message: it is in the letter, not in the log.
        let (worker, code, message_id) = (W::NAME, undelivered.code, origin.message_id.as_deref());
        match rung {
            Some(rung) => {
                metrics::counter!("bursar_retried_total", "worker" => worker, "code" => code).increment(1);
                tracing::warn!(
                    worker,
                    code,
                    message_id,
                    attempt = attempts.len(),
                    rung = rung.name(),
                    "rests"
                );
                // Of one that never dies only the latest attempts are told.
                let latest = match origin.death {
                    Some(_) => 0..attempts.len(),
                    None => last(&attempts, ladder.rungs().count()),
                };
                let exchange = self.context.namespace.name(&rung.name());
                let routing_key = self.context.namespace.name(self.worker.queue());
                let to = Address { exchange, routing_key };
                origin.on_its_way(to, undelivered.part, &attempts[latest], now)
            }
            None => {
                metrics::counter!("bursar_dead_lettered_total", "worker" => worker, "code" => code)
                    .increment(1);
                tracing::error!(worker, code, message_id, "dead letter");
                let exchange = self.context.namespace.name(exchange::DEAD);
                let to = Address { exchange, routing_key: worker.to_owned() };
                let mut letter = origin.on_its_way(to, undelivered.part, &attempts, now);
                let mut set = |name: &str, value: String| letter.headers.insert(name.to_owned(), value);
                set(header::DEAD_WORKER, worker.to_owned());
                set(header::DEAD_QUEUE, self.worker.queue().to_owned());
                set(header::DEAD_CODE, code.to_owned());
                set(header::DEAD_REASON, shortened(undelivered.why, REASON_MAX));
                set(header::DEAD_AT, time_text(now));
                letter
            }
        }
    }
}

fn last<T>(list: &[T], count: usize) -> Range<usize> {
    list.len().saturating_sub(count.max(1))..list.len()
}

/// One message for all of a batch: they are many in a replay, and each message costs more than what is in it.
fn replay_outcomes(context: &Context, messages: &[Incoming], outcomes: ReplayOutcomes) -> Option<Message> {
    let at = OffsetDateTime::now_utc();
    let told = outcomes.into_iter().filter_map(|(origin, outcomes)| {
        let outcome = outcomes.into_iter().collect::<Vec<_>>().join(",");
        Some(ReplayOutcome { replayed: messages[origin].replayed()?, outcome, at })
    });
    let told: Vec<ReplayOutcome> = told.collect();
    let first = told.first()?.replayed;
    let body = serde_json::to_string(&told).expect("it holds ids, texts and times");
    let id = format!("{}-{}+{}", first.replay, first.letter, told.len() - 1);
    Some(Message::new(context.namespace.name(exchange::DEAD), REPLAYED, id, "application/json", None, body))
}
