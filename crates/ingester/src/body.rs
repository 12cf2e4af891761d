//! Bodies, and the room they take. A body takes room as it comes, and only as much as is there; one that is genuine takes
//! room of another kind until it is durable, so that slow senders take nothing from the requests in work.

use crate::door::{BODY_MAX, Caller, DoorLimits, Why, count};
use crate::problem::problem;
use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use axum::response::Response;
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// So long a body need not bring anything: a sender may wait for `100 Continue`, and for a second round trip.
const GRACE: Duration = Duration::from_secs(2);

/// How long a request waits for room before it is answered with 503.
const ROOM_TIMEOUT: Duration = Duration::from_millis(250);

/// The least that a request in work counts for, so that small ones are bounded in number.
const WORK_MIN: usize = 16 * 1024;

/// What a body begins with.
const FIRST: usize = 4 * 1024;

/// The room there is for bodies: on their way, and in work.
#[derive(Clone)]
pub struct Room {
    bodies: Arc<Semaphore>,
    work: Arc<Semaphore>,
    timeout: Duration,
    rate: u32,
}

/// A body that is there, and the room that it takes.
pub struct Received {
    pub bytes: Vec<u8>,
    room: Option<OwnedSemaphorePermit>,
}

impl Room {
    pub fn new(limits: &DoorLimits) -> Self {
        let semaphore = |bytes: usize| Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)));
        Self {
            bodies: semaphore(limits.bodies_bytes),
            work: semaphore(limits.work_bytes),
            timeout: limits.body_timeout,
            rate: limits.body_rate.max(1),
        }
    }

    /// Reads a body to its end, if it comes in time and there is room for it.
    ///
    /// # Errors
    /// The answer to send: a body that is too large, too slow or broken off, or no room for it.
    pub async fn receive(&self, mut body: Body, caller: Option<&Caller>) -> Result<Received, Response> {
        let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if declared > BODY_MAX {
            return Err(too_large());
        }
        // A declared length is exact; without one it may grow to the limit.
        let most = if body.size_hint().exact().is_some() { declared } else { BODY_MAX };
        let mut received = Received { bytes: Vec::new(), room: None };
        let began = Instant::now();
        if let Some(caller) = caller {
            caller.visit.body_is_awaited();
        }
        loop {
            let frame =
                tokio::time::timeout_at(self.next_by(began, received.bytes.len()), body.frame()).await;
            match frame {
                Err(_) => return Err(refuse(Why::SlowBody)),
                Ok(None) => break,
                Ok(Some(Err(_))) => {
                    return Err(problem(StatusCode::BAD_REQUEST, "the body broke off".to_owned()));
                }
                // Trailers are not read.
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.add(&mut received, &data, most, caller).await?;
                    }
                }
            }
        }
        if let Some(caller) = caller {
            caller.visit.body_is_there();
        }
        Ok(received)
    }

    /// When the next part has to be there: within the whole time, and as fast as the least rate asks.
    fn next_by(&self, began: Instant, bytes: usize) -> Instant {
        let earned = Duration::from_secs(bytes as u64) / self.rate;
        began + self.timeout.min(GRACE + earned)
    }

    async fn add(
        &self,
        received: &mut Received,
        data: &[u8],
        most: usize,
        caller: Option<&Caller>,
    ) -> Result<(), Response> {
        let length = received.bytes.len() + data.len();
        if length > BODY_MAX {
            return Err(too_large());
        }
        let capacity = received.bytes.capacity();
        if length > capacity {
            let wanted = (capacity * 2).max(FIRST).min(most).max(length);
            self.grow(received, wanted, caller).await?;
        }
        received.bytes.extend_from_slice(data);
        if let Some(caller) = caller {
            caller.visit.holds(received.bytes.capacity());
        }
        Ok(())
    }

    /// If there is no room, the connection that has held some for longest without sending the rest is closed.
    async fn grow(
        &self,
        received: &mut Received,
        capacity: usize,
        caller: Option<&Caller>,
    ) -> Result<(), Response> {
        let more = capacity - received.room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let permits = u32::try_from(more).unwrap_or(u32::MAX);
        let room = match self.bodies.clone().try_acquire_many_owned(permits) {
            Ok(room) => room,
            Err(_) => {
                if let Some(caller) = caller {
                    caller.close_another_with_a_body();
                }
                within(self.bodies.clone(), permits).await.ok_or_else(|| refuse(Why::Bodies))?
            }
        };
        match &mut received.room {
            Some(held) => held.merge(room),
            none => *none = Some(room),
        }
        received.bytes.reserve_exact(capacity - received.bytes.len());
        Ok(())
    }

    /// Room for a genuine body until it is durable; that of bodies on their way is free again once `received` is dropped.
    ///
    /// # Errors
    /// The answer to send: no room within the time that a request waits.
    pub async fn work_on(&self, received: &Received) -> Result<OwnedSemaphorePermit, Response> {
        let permits = u32::try_from(received.bytes.len().max(WORK_MIN)).unwrap_or(u32::MAX);
        within(self.work.clone(), permits).await.ok_or_else(|| refuse(Why::Work))
    }
}

async fn within(room: Arc<Semaphore>, permits: u32) -> Option<OwnedSemaphorePermit> {
    tokio::time::timeout(ROOM_TIMEOUT, room.acquire_many_owned(permits)).await.ok()?.ok()
}

fn too_large() -> Response {
    refuse(Why::LargeBody)
}

fn refuse(why: Why) -> Response {
    count("http", why);
    let (status, detail) = match why {
        Why::SlowBody => (StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".to_owned()),
        Why::LargeBody => {
            (StatusCode::PAYLOAD_TOO_LARGE, format!("expected a body of at most {BODY_MAX} bytes"))
        }
        Why::Bodies
        | Why::Work
        | Why::Connections
        | Why::Address
        | Why::Descriptors
        | Why::MadeWay
        | Why::SlowHead
        | Why::Idle
        | Why::SlowAnswer
        | Why::Unanswered
        | Why::Ambiguous
        | Why::Path
        | Why::Tokens => {
            (StatusCode::SERVICE_UNAVAILABLE, "too much is in hand: send it again later".to_owned())
        }
    };
    problem(status, detail)
}
