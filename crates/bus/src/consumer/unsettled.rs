//! An item that was not settled: it rests on the retry ladder, or becomes a dead letter.

use super::context::LaneContext;
use super::worker::Worker;
use crate::fate::check_code;
use crate::incoming::Incoming;
use crate::message::Message;
use crate::onward::{Destination, Payload};
use crate::returned::{Attempt, Death, shortened};
use crate::topology::{Ladder, Rung};
use std::ops::Range;
use time::OffsetDateTime;

/// Headers travel in one frame: those of the message itself must find room beside the reason.
const REASON_MAX: usize = 32 * 1024;

/// An item, or a whole message, that was not settled.
#[derive(Debug, Clone)]
pub(super) struct Unsettled {
    /// Out of which message of the batch.
    pub origin: usize,
    pub payload: Payload,
    pub code: &'static str,
    pub why: String,
    /// Nobody foresaw why: it may go well another time.
    pub again: bool,
}

impl Unsettled {
    /// The message that carries it on: to the next rung of the ladder, or to the dead letters.
    pub fn onward<W: Worker>(self, lane: &LaneContext<W>, origin: &Incoming) -> Message {
        check_code(W::NAME, W::CODES, self.code);
        let now = OffsetDateTime::now_utc();
        let mut attempts = origin.attempts().to_vec();
        // The attempts of a dead letter say why it died. Those of the worker that keeps it are not added.
        if origin.death.is_none() {
            attempts.push(Attempt::new(now, &self.why));
        }
        match self.rung::<W>(&lane.context.ladder, attempts.len()) {
            Some(rung) => self.rest(lane, origin, rung, &attempts, now),
            None => self.die(lane, origin, &attempts, now),
        }
    }

    fn rung<W: Worker>(&self, ladder: &Ladder, attempts: usize) -> Option<Rung> {
        match (self.again, W::GIVES_UP) {
            (false, true) => None,
            (true, true) => ladder.rung_after(attempts),
            (_, false) => Some(ladder.last()),
        }
    }

    // The reason may quote the message: it is in the letter, not in the log.

    fn rest<W: Worker>(
        self,
        lane: &LaneContext<W>,
        origin: &Incoming,
        rung: Rung,
        attempts: &[Attempt],
        now: OffsetDateTime,
    ) -> Message {
        let (worker, code, message_id) = (W::NAME, self.code, origin.message_id.as_deref());
        let (attempt, name) = (attempts.len(), rung.name());
        metrics::counter!("bursar_retried_total", "worker" => worker, "code" => code).increment(1);
        tracing::warn!(worker, code, message_id, attempt, rung = name, "rests");
        // A message that never dies keeps its latest attempts alone.
        let latest = match origin.death {
            Some(_) => 0..attempts.len(),
            None => last(attempts, lane.context.ladder.rungs().count()),
        };
        let to = Destination { exchange: lane.context.namespace.name(&name), routing_key: lane.queue() };
        origin.on_its_way(to, self.payload, &attempts[latest], origin.death.as_ref(), now)
    }

    fn die<W: Worker>(
        self,
        lane: &LaneContext<W>,
        origin: &Incoming,
        attempts: &[Attempt],
        now: OffsetDateTime,
    ) -> Message {
        let (worker, code, message_id) = (W::NAME, self.code, origin.message_id.as_deref());
        metrics::counter!("bursar_dead_lettered_total", "worker" => worker, "code" => code).increment(1);
        tracing::error!(worker, code, message_id, "dead letter");
        let death = Death {
            worker: worker.to_owned(),
            queue: lane.worker.queue().to_owned(),
            code: code.to_owned(),
            reason: shortened(self.why, REASON_MAX),
            at: Some(now),
        };
        let to = Destination::dead_letters(&lane.context.namespace, worker);
        origin.on_its_way(to, self.payload, attempts, Some(&death), now)
    }
}

fn last<T>(list: &[T], count: usize) -> Range<usize> {
    list.len().saturating_sub(count.max(1))..list.len()
}
