//! Reading a message: what items it holds, and what it has to do with an end of the process.

use super::context::LaneContext;
use super::failure::BatchFailure;
use super::stop::Stop;
use super::suspect::{Begun, Suspect, Tried, accusation};
use super::unsettled::Unsettled;
use super::worker::{Decoded, Worker};
use crate::fate::code;
use crate::incoming::Incoming;
use crate::onward::Payload;
use crate::unreadable::UnreadableProperties;
use std::panic::AssertUnwindSafe;
use time::OffsetDateTime;

pub(super) enum ReadMessage<I> {
    Plain(Vec<Decoded<I>>),
    /// It came back too often: it is settled alone, and this try is counted.
    Tried(Vec<Decoded<I>>, Tried),
    /// It ends the process: what it holds is put back, or given up on.
    TakenApart(Vec<Unsettled>),
}

/// Reads a message. Fails where it waited for its turn, and the lane was asked to stop.
pub(super) async fn read<W: Worker>(
    lane: &LaneContext<W>,
    message: &Incoming,
) -> Result<ReadMessage<W::Item>, Stop> {
    // A worker may need those properties that cannot be read, so it is not asked. The one that keeps dead letters needs none.
    let unreadable = message.unreadable.as_ref().filter(|_| W::GIVES_UP).map(UnreadableProperties::reason);
    if let Some(reason) = unreadable {
        return Ok(ReadMessage::Plain(vec![whole(message, code::UNREADABLE, reason)]));
    }
    match Suspect::of(W::NAME, message) {
        None => Ok(ReadMessage::Plain(decode(lane, message))),
        Some(suspect) => read_suspect(lane, message, suspect).await,
    }
}

async fn read_suspect<W: Worker>(
    lane: &LaneContext<W>,
    message: &Incoming,
    suspect: Suspect,
) -> Result<ReadMessage<W::Item>, Stop> {
    let context = &lane.context;
    Ok(match suspect.begin(&context.pool, &context.stop).await? {
        Begun::Tried(tried) => ReadMessage::Tried(decode(lane, message), tried),
        Begun::Accused(reading) => {
            let parts = take_apart(lane, message);
            reading.end(&context.pool).await;
            ReadMessage::TakenApart(parts)
        }
        Begun::Unreadable => ReadMessage::Plain(vec![whole(message, code::CRASH, accusation())]),
    })
}

/// A message that makes its decoder panic is a dead letter like any other.
fn decode<W: Worker>(lane: &LaneContext<W>, message: &Incoming) -> Vec<Decoded<W::Item>> {
    let came_at = message.returned.as_ref().map(|returned| returned.first_failed_at);
    let now = came_at.unwrap_or_else(OffsetDateTime::now_utc);
    let decode = AssertUnwindSafe(|| lane.worker.decode(message, now));
    let _busy = lane.begin_step();
    std::panic::catch_unwind(decode).unwrap_or_else(|panic| {
        let failure = BatchFailure::panic::<W>(&*panic);
        vec![whole(message, failure.code, format!("decoding it: {}", failure.why))]
    })
}

/// A message that ends the process, the first of its batch. Of several items one may do so: each is put back by itself and
/// tried so. A message that holds one alone is given up on.
fn take_apart<W: Worker>(lane: &LaneContext<W>, message: &Incoming) -> Vec<Unsettled> {
    let mut entries = decode(lane, message);
    if entries.len() < 2 {
        entries = vec![whole(message, code::CRASH, accusation())];
    }
    entries.into_iter().map(|entry| apart(&*lane.worker, entry)).collect()
}

fn apart<W: Worker>(worker: &W, entry: Decoded<W::Item>) -> Unsettled {
    let origin = 0;
    match entry {
        Decoded::Item(item) => {
            let payload = Payload::of_part(worker.encode(&item));
            Unsettled { origin, payload, code: code::CRASH, why: accusation(), again: true }
        }
        Decoded::Bad { body, content_type, code, reason } => {
            let payload = Payload { content_type, body };
            Unsettled { origin, payload, code, why: reason, again: false }
        }
    }
}

/// A message that cannot be read as a whole.
fn whole<I>(message: &Incoming, code: &'static str, reason: String) -> Decoded<I> {
    Decoded::Bad { body: message.body.clone(), content_type: None, code, reason }
}
