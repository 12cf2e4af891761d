//! What the fleet says of a message that it put back into a worker's queue, or gave up on.
//!
//! A message goes back after a rest on the retry ladder, or as a replay. It goes by the default exchange straight into the
//! queue it lay in, so that no other reader of its exchange sees it again, and carries how it first came in headers of its
//! own. A dead letter carries the same and why it died. [`Incoming::restored`](crate::Incoming::restored) reads these headers
//! and says of whom they are believed; `onward` writes them.

use crate::header;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};
use uuid::Uuid;

/// Of why an attempt failed this much is kept.
const WHY_MAX: usize = 1024;

/// One attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub why: String,
}

impl Attempt {
    /// An attempt that failed just now. Of a long reason only the beginning is kept.
    pub fn new(at: OffsetDateTime, why: &str) -> Self {
        // In JSON each of these would take six bytes.
        let why = why.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}");
        Self { at, why: shortened(why, WHY_MAX) }
    }
}

/// Which replay put a message back, and which dead letter it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayedLetter {
    pub replay: Uuid,
    pub letter: Uuid,
}

impl ReplayedLetter {
    /// Reads it out of the fleet's own headers.
    pub(crate) fn read(own: &BTreeMap<String, String>) -> Option<Self> {
        let id = |name| own.get(name)?.parse().ok();
        Some(Self { replay: id(header::REPLAY)?, letter: id(header::LETTER)? })
    }
}

/// What the fleet says of a message that it put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// When it first failed: what its worker takes for now when it reads it again.
    pub first_failed_at: OffsetDateTime,
    pub attempts: Vec<Attempt>,
    pub replayed: Option<ReplayedLetter>,
}

/// Why a message is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    pub worker: String,
    /// The queue in which it lay, without the namespace.
    pub queue: String,
    /// Machine-readable.
    pub code: String,
    pub reason: String,
    pub at: Option<OffsetDateTime>,
}

impl Death {
    /// Takes it out of the fleet's own headers.
    pub(crate) fn take(own: &mut BTreeMap<String, String>) -> Option<Self> {
        let mut text = |name| own.remove(name);
        Some(Self {
            worker: text(header::DEAD_WORKER)?,
            queue: text(header::DEAD_QUEUE)?,
            code: text(header::DEAD_CODE)?,
            reason: text(header::DEAD_REASON)?,
            at: text(header::DEAD_AT).and_then(|text| parse_time(&text)),
        })
    }

    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        let headers = [
            (header::DEAD_WORKER, Some(self.worker.clone())),
            (header::DEAD_QUEUE, Some(self.queue.clone())),
            (header::DEAD_CODE, Some(self.code.clone())),
            (header::DEAD_REASON, Some(self.reason.clone())),
            (header::DEAD_AT, self.at.map(time_text)),
        ];
        headers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

/// Attempts that cannot be read count as never made: the message is tried once more.
pub(crate) fn parse_attempts(text: &str) -> Vec<Attempt> {
    let attempts: Vec<Attempt> = serde_json::from_str(text).unwrap_or_default();
    if attempts.iter().all(|attempt| can_be_stored(&attempt.at)) { attempts } else { Vec::new() }
}

pub(crate) fn attempts_text(attempts: &[Attempt]) -> String {
    serde_json::to_string(attempts).expect("attempts hold times and texts")
}

pub(crate) fn parse_time(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().filter(can_be_stored)
}

/// Postgres stores a moment in UTC, where it may be outside the calendar that it is inside of with its offset.
fn can_be_stored(at: &OffsetDateTime) -> bool {
    at.checked_to_offset(UtcOffset::UTC).is_some_and(|at| (0..=9999).contains(&at.year()))
}

pub(crate) fn time_text(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).expect("a time of this millennium")
}

pub(crate) fn shortened(mut text: String, length_max: usize) -> String {
    if text.len() > length_max {
        text.truncate(text.floor_char_boundary(length_max));
        text.push_str(" (shortened)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_outside_the_calendar_counts_as_none() {
        for wrong in ["9999-12-31T23:59:59-10:00", "0000-01-01T00:00:00+00:01", "10000-01-01T00:00:00Z"] {
            assert_eq!(parse_time(wrong), None, "{wrong}");
            assert_eq!(parse_attempts(&format!(r#"[{{"at":"{wrong}","why":"w"}}]"#)), [], "{wrong}");
        }
        assert!(parse_time("9999-12-31T23:59:59Z").is_some());
    }
}
