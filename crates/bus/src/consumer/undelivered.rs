//! What a batch leaves behind: messages that rest on the retry ladder, dead letters, and how replays went.

use super::lane::{Lane, Stop};
use super::{Context, Worker};
use crate::backoff::Delays;
use crate::message::{Incoming, Message, header};
use crate::publisher::PublishError;
use crate::returned::{Address, Attempt, Death, Part, Replayed, parse_attempts, shortened};
use crate::topology::exchange;
use domain::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use time::OffsetDateTime;

/// Headers travel in one frame: those of the message itself must find room beside it.
const REASON_MAX: usize = 32 * 1024;

/// A message that goes by itself, and over which the broker ended the connection so often, goes without the headers of its
/// publisher. More than once, for the connection is shared with others.
const OBJECTIONS_MAX: u32 = 3;

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

impl ReplayOutcome {
    /// Whether it says what became of the message in the end. What no worker of ours says counts as the last word.
    pub fn is_last_word(&self) -> bool {
        self.outcome.split(',').all(|word| word.parse().map_or(true, Outcome::is_last_word))
    }
}

/// The routing key, on the exchange of dead letters, of a list of [`ReplayOutcome`]s.
pub const REPLAYED: &str = "replayed";

/// The outcomes of a batch's messages that a replay put back, by their place in the batch.
pub(super) type ReplayOutcomes = BTreeMap<usize, BTreeSet<Outcome>>;

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

    /// All together as long as that goes well. An error may belong to one of them and take the connection of all with it:
    /// after one each goes by itself, and who fails waits behind the others.
    async fn publish_until_confirmed(&self, parcels: Vec<Message>) -> Result<(), Stop> {
        let mut delays = Delays::for_servers();
        let mut parcels: VecDeque<Parcel> = parcels.into_iter().map(Parcel::from).collect();
        let mut at_once = parcels.len();
        while !parcels.is_empty() {
            let sent: Vec<Parcel> = parcels.drain(..at_once).collect();
            let messages = sent.iter().map(|parcel| parcel.message.clone()).collect();
            let outcomes = self.context.publisher.publish(messages).await;
            let mut failure = None;
            for (mut parcel, outcome) in sent.into_iter().zip(outcomes) {
                let Err(error) = outcome else { continue };
                if at_once == 1 {
                    parcel.failed::<W>(&error);
                }
                parcels.push_back(parcel);
                failure = Some(error);
            }
            at_once = 1;
            let Some(error) = failure else {
                delays.reset();
                continue;
            };
            let delay = delays.next_delay();
            let (left, retry_ms) = (parcels.len(), delay.as_millis() as u64);
            tracing::error!(worker = W::NAME, %error, left, retry_ms, "cannot hand over what failed");
            tokio::select! {
                () = self.context.stop.cancelled() => return Err(Stop),
                () = tokio::time::sleep(delay) => {}
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
                origin.on_its_way(to, undelivered.part, &attempts[latest], origin.death.as_ref(), now)
            }
            None => {
                metrics::counter!("bursar_dead_lettered_total", "worker" => worker, "code" => code)
                    .increment(1);
                tracing::error!(worker, code, message_id, "dead letter");
                let exchange = self.context.namespace.name(exchange::DEAD);
                let to = Address { exchange, routing_key: worker.to_owned() };
                let death = Death {
                    worker: worker.to_owned(),
                    queue: self.worker.queue().to_owned(),
                    code: code.to_owned(),
                    reason: shortened(undelivered.why, REASON_MAX),
                    at: Some(now),
                };
                origin.on_its_way(to, undelivered.part, &attempts, Some(&death), now)
            }
        }
    }
}

/// A message that must be handed over.
struct Parcel {
    message: Message,
    objections: u32,
}

impl From<Message> for Parcel {
    fn from(message: Message) -> Self {
        Self { message, objections: 0 }
    }
}

impl Parcel {
    /// It was sent with no other.
    fn failed<W: Worker>(&mut self, error: &PublishError) {
        let PublishError::Objected(why) = error else { return };
        self.objections += 1;
        if let Some(size_max) = size_max(why) {
            self.shrink::<W>(size_max);
        }
        if self.objections == OBJECTIONS_MAX {
            self.message.headers.retain(|name, _| name.starts_with(header::OWN));
            let message_id = self.message.message_id.as_str();
            tracing::error!(worker = W::NAME, message_id, "goes on without the headers of its publisher");
        }
    }
}

impl Parcel {
    /// The broker takes no larger body. What of the properties cannot be read goes first; then what of the body is too much, for
    /// a letter with a part of it is worth more than a lane that stands still.
    fn shrink<W: Worker>(&mut self, size_max: usize) {
        let Message { headers, body, message_id, .. } = &mut self.message;
        let set_aside = headers.remove(header::UNREADABLE).and_then(|length| length.parse::<usize>().ok());
        body.drain(..set_aside.unwrap_or(0).min(body.len()));
        let size = body.len();
        if size > size_max {
            body.truncate(size_max);
            let note = format!(
                "RabbitMQ takes messages of {size_max} bytes at most: of this one's {size} bytes only the first are kept"
            );
            match headers.get_mut(header::DEAD_REASON) {
                Some(reason) => *reason = format!("{note}. {reason}"),
                None => {
                    let told = headers.get(header::ATTEMPTS).map(|text| parse_attempts(text));
                    let mut attempts = told.unwrap_or_default();
                    attempts.push(Attempt::new(OffsetDateTime::now_utc(), &note));
                    let attempts = serde_json::to_string(&attempts).expect("attempts hold times and texts");
                    headers.insert(header::ATTEMPTS.to_owned(), attempts);
                }
            }
        }
        tracing::error!(
            worker = W::NAME,
            message_id = message_id.as_str(),
            size,
            size_max,
            "made small enough"
        );
    }
}

/// The limit that the broker names where a message is beyond it: only its words say so.
fn size_max(why: &str) -> Option<usize> {
    let (_, told) = why.split_once("max size ")?;
    let digits = told.find(|c: char| !c.is_ascii_digit()).unwrap_or(told.len());
    told[..digits].parse().ok().filter(|size| *size > 0)
}

fn last<T>(list: &[T], count: usize) -> Range<usize> {
    list.len().saturating_sub(count.max(1))..list.len()
}

/// One message for all of a batch: they are many in a replay, and each message costs more than what is in it.
fn replay_outcomes(context: &Context, messages: &[Incoming], outcomes: ReplayOutcomes) -> Option<Message> {
    let at = OffsetDateTime::now_utc();
    let told = outcomes.into_iter().filter_map(|(origin, outcomes)| {
        let words: BTreeSet<&str> = outcomes.into_iter().map(Outcome::as_str).collect();
        let outcome = words.into_iter().collect::<Vec<_>>().join(",");
        Some(ReplayOutcome { replayed: messages[origin].replayed()?, outcome, at })
    });
    let told: Vec<ReplayOutcome> = told.collect();
    let first = told.first()?.replayed;
    let body = serde_json::to_string(&told).expect("it holds ids, texts and times");
    let id = format!("{}-{}+{}", first.replay, first.letter, told.len() - 1);
    Some(Message::new(context.namespace.name(exchange::DEAD), REPLAYED, id, "application/json", None, body))
}

#[cfg(test)]
mod tests;
