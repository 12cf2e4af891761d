//! One open connection as its door sees it: in which phase it is, since when, and until when it may stay there.
//!
//! Everything that changes it happens while its connection is polled, so that the connection looks at [`Visit::deadline`]
//! after each poll and needs no notice.

use super::limits::DoorLimits;
use super::refused::Why;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A request that is in work longer than this hangs. Making a delivery durable takes 4 s at most.
const WORK_TIMEOUT: Duration = Duration::from_secs(30);

/// A handler that reads the body answers first; this is for a body that no handler reads.
const BODY_MARGIN: Duration = Duration::from_secs(2);

/// After an answer that came before the whole request: so long what else comes is thrown away, since closing at once would
/// take the answer away from a peer that is still sending.
pub const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing of a request is there.
    Idle,
    /// A part of its head is.
    Head,
    /// Its body is awaited.
    Body,
    /// All of it is there, and it is seen to.
    Work,
    /// The answer is being written.
    Answer,
    /// All is said; what still comes is thrown away.
    Leaving,
}

struct VisitState {
    phase: Phase,
    since: Instant,
    until: Option<Instant>,
    /// Until when the peer has to take what was written and is not flushed.
    writing_until: Option<Instant>,
    has_written: bool,
    /// Something was written on the connection at some time.
    has_answered: bool,
    /// Its body has not been read to its end.
    has_unread: bool,
    /// Bytes of its body that take room.
    held: usize,
}

pub struct Visit {
    state: Mutex<VisitState>,
    head: Duration,
    idle: Duration,
    body: Duration,
    answer: Duration,
    /// Cancelled when it is closed for another.
    pub leave: CancellationToken,
}

impl Visit {
    pub fn new(limits: &DoorLimits) -> Self {
        let now = Instant::now();
        let state = VisitState {
            phase: Phase::Idle,
            since: now,
            until: Some(now + limits.head_timeout),
            writing_until: None,
            has_written: false,
            has_answered: false,
            has_unread: false,
            held: 0,
        };
        Self {
            state: Mutex::new(state),
            head: limits.head_timeout,
            idle: limits.idle_timeout,
            body: limits.body_timeout,
            answer: limits.answer_timeout,
            leave: CancellationToken::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, VisitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: Phase, within: Duration) {
        let (mut state, now) = (self.state(), Instant::now());
        (state.phase, state.since, state.until) = (phase, now, Some(now + within));
        state.held = 0;
    }

    /// Bytes came in. The first of a head start its clock; where the connection is new it runs already.
    pub fn has_read(&self) {
        let (mut state, now) = (self.state(), Instant::now());
        if state.phase == Phase::Idle {
            (state.phase, state.since) = (Phase::Head, now);
            let until = now + self.head;
            state.until = Some(state.until.map_or(until, |before| before.min(until)));
        }
    }

    /// A head is there.
    pub fn asks(&self, has_body: bool) {
        self.enter(Phase::Work, WORK_TIMEOUT);
        self.state().has_unread = has_body;
    }

    pub fn body_is_awaited(&self) {
        self.enter(Phase::Body, self.body + BODY_MARGIN);
    }

    pub fn body_is_there(&self) {
        self.enter(Phase::Work, WORK_TIMEOUT);
        self.state().has_unread = false;
    }

    pub fn has_unread(&self) -> bool {
        self.state().has_unread
    }

    pub fn holds(&self, bytes: usize) {
        self.state().held = bytes;
    }

    pub fn is_answered(&self) {
        self.enter(Phase::Answer, self.answer);
        self.state().has_written = false;
    }

    pub fn leaves(&self) {
        self.enter(Phase::Leaving, LEAVE_TIMEOUT);
    }

    /// Something is written. It counts from the first byte that is not flushed: a peer that takes one at a time gains nothing.
    pub fn writes(&self) {
        let mut state = self.state();
        (state.has_written, state.has_answered) = (true, true);
        state.writing_until = state.writing_until.or_else(|| Some(Instant::now() + self.answer));
    }

    pub fn has_flushed(&self) {
        let mut state = self.state();
        state.writing_until = None;
        let is_answered = state.phase == Phase::Answer && state.has_written;
        drop(state);
        if is_answered {
            self.enter(Phase::Idle, self.idle);
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        let state = self.state();
        [state.until, state.writing_until].into_iter().flatten().min()
    }

    /// What the peer was too slow for.
    pub fn lateness(&self) -> Why {
        let state = self.state();
        match state.phase {
            _ if state.writing_until.is_some_and(|until| until <= Instant::now()) => Why::SlowAnswer,
            Phase::Idle | Phase::Leaving => Why::Idle,
            Phase::Head => Why::SlowHead,
            Phase::Body => Why::SlowBody,
            Phase::Work => Why::Unanswered,
            Phase::Answer => Why::SlowAnswer,
        }
    }

    /// Whether something can be said on the connection that is not taken for a part of something else. A peer that has not
    /// asked yet may be about to: if it is closed for another it gets an answer, while a silent one is closed without one.
    pub fn can_be_told(&self, why: Why) -> bool {
        let state = self.state();
        let has_asked = match state.phase {
            Phase::Head | Phase::Body | Phase::Work => true,
            Phase::Idle => why == Why::MadeWay && !state.has_answered,
            Phase::Answer | Phase::Leaving => false,
        };
        has_asked && state.writing_until.is_none()
    }

    /// Since when the door has been waiting for its peer; none while the peer waits for the door.
    pub fn waiting_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.phase != Phase::Work).then_some(state.since)
    }

    /// As [`Visit::waiting_since`], of what holds a part of a body.
    pub fn holding_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.phase == Phase::Body && state.held > 0).then_some(state.since)
    }

    pub fn is_idle(&self) -> bool {
        matches!(self.state().phase, Phase::Idle | Phase::Leaving)
    }
}
