//! Handing over what must not be lost with the acknowledgement.

use super::context::LaneContext;
use super::stop::{Stop, pause};
use super::worker::Worker;
use crate::backoff::Delays;
use crate::header;
use crate::message::Message;
use crate::publisher::PublishError;
use crate::returned::{Attempt, attempts_text, parse_attempts};
use std::collections::VecDeque;
use time::OffsetDateTime;

/// A message that goes by itself, and over which the broker ended the connection so often, goes without the headers of its
/// publisher. More than once, for the connection is shared with others.
const OBJECTIONS_MAX: u32 = 3;

/// Publishes messages until the broker has confirmed all of them. All go together as long as that works. An error may belong
/// to one of them and end the connection for all: after one each goes by itself, and what fails waits behind the others.
pub(super) async fn hand_over<W: Worker>(lane: &LaneContext<W>, messages: Vec<Message>) -> Result<(), Stop> {
    let mut handover = Handover::of(messages);
    let mut delays = Delays::for_servers();
    while !handover.is_done() {
        let Some(error) = handover.publish(lane).await else {
            delays.reset();
            continue;
        };
        let delay = delays.next_delay();
        let (left, retry_ms) = (handover.unconfirmed.len(), delay.as_millis() as u64);
        tracing::error!(worker = W::NAME, %error, left, retry_ms, "cannot hand over what failed");
        pause(delay, &lane.context.stop).await?;
    }
    Ok(())
}

struct Handover {
    unconfirmed: VecDeque<Unconfirmed>,
    /// How many go together.
    at_once: usize,
}

impl Handover {
    fn of(messages: Vec<Message>) -> Self {
        let unconfirmed: VecDeque<Unconfirmed> = messages.into_iter().map(Unconfirmed::from).collect();
        Self { at_once: unconfirmed.len(), unconfirmed }
    }

    fn is_done(&self) -> bool {
        self.unconfirmed.is_empty()
    }

    /// Publishes the next of them; returns the last error, and keeps what was not confirmed.
    async fn publish<W: Worker>(&mut self, lane: &LaneContext<W>) -> Option<PublishError> {
        let sent: Vec<Unconfirmed> = self.unconfirmed.drain(..self.at_once).collect();
        let messages = sent.iter().map(|sent| sent.message.clone()).collect();
        let outcomes = lane.context.publisher.publish(messages).await;
        let mut failure = None;
        for (mut sent, outcome) in sent.into_iter().zip(outcomes) {
            let Err(error) = outcome else { continue };
            if self.at_once == 1 {
                sent.failed(W::NAME, &error);
            }
            self.unconfirmed.push_back(sent);
            failure = Some(error);
        }
        self.at_once = 1;
        failure
    }
}

/// A message that the broker has not confirmed yet.
struct Unconfirmed {
    message: Message,
    objections: u32,
}

impl From<Message> for Unconfirmed {
    fn from(message: Message) -> Self {
        Self { message, objections: 0 }
    }
}

impl Unconfirmed {
    /// It was sent with no other.
    fn failed(&mut self, worker: &'static str, error: &PublishError) {
        let PublishError::Objected(why) = error else { return };
        self.objections += 1;
        if let Some(size_max) = size_max(why) {
            self.shrink(worker, size_max);
        }
        if self.objections == OBJECTIONS_MAX {
            self.message.headers.retain(|name, _| name.starts_with(header::OWN));
            let message_id = self.message.message_id.as_str();
            tracing::error!(worker, message_id, "goes on without the headers of its publisher");
        }
    }

    /// The broker takes no larger body. The properties that cannot be read go first; then what of the body is too much, for a
    /// letter with a part of it is worth more than a lane that stands still.
    fn shrink(&mut self, worker: &'static str, size_max: usize) {
        let Message { headers, body, message_id, .. } = &mut self.message;
        let set_aside = headers.remove(header::UNREADABLE).and_then(|length| length.parse::<usize>().ok());
        body.drain(..set_aside.unwrap_or(0).min(body.len()));
        let (size, message_id) = (body.len(), message_id.as_str());
        tracing::error!(worker, message_id, size, size_max, "made small enough");
        if size > size_max {
            body.truncate(size_max);
            self.note(&format!(
                "RabbitMQ takes messages of {size_max} bytes at most: of this one's {size} bytes only the first are kept"
            ));
        }
    }

    /// Says something of itself: where it is a dead letter in its reason, else as an attempt.
    fn note(&mut self, note: &str) {
        let headers = &mut self.message.headers;
        if let Some(reason) = headers.get_mut(header::DEAD_REASON) {
            *reason = format!("{note}. {reason}");
            return;
        }
        let mut attempts = headers.get(header::ATTEMPTS).map(|text| parse_attempts(text)).unwrap_or_default();
        attempts.push(Attempt::new(OffsetDateTime::now_utc(), note));
        headers.insert(header::ATTEMPTS.to_owned(), attempts_text(&attempts));
    }
}

/// The limit that the broker names where a message is beyond it: only its words say so.
fn size_max(why: &str) -> Option<usize> {
    let (_, size) = why.split_once("max size ")?;
    let digits = size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len());
    size[..digits].parse().ok().filter(|size| *size > 0)
}

#[cfg(test)]
mod tests;
