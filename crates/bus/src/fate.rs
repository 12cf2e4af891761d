//! What becomes of a batch that a worker could not carry out.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The fates of an error (design, "Never twice, never lost").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The database or the broker is away, two transactions collided: pause and try the same batch again. No attempt is
    /// counted, nothing is dead-lettered because a server restarted.
    Transient,
    /// It cannot ever work: a dead letter at once, with this machine-readable code.
    Poison(&'static str),
    /// It took too long: as [`Fate::Unknown`] where the database answers, else as [`Fate::Transient`].
    Hung,
    /// Nobody foresaw it (a panic among them): the batch is split and each part tried again, until the culprit stands alone.
    /// It rests on the retry ladder, and is a dead letter at its end.
    Unknown,
}

/// The codes of dead letters that the loop itself gives; a worker's own are beside its errors.
pub mod code {
    /// Nobody foresaw why.
    pub const UNKNOWN: &str = "unknown";
    pub const PANIC: &str = "panic";
    /// It took too long.
    pub const TIME_LIMIT: &str = "time_limit";
    /// The process ended over it, again and again.
    pub const CRASH: &str = "crash";
    /// Its properties cannot be read, see [`UnreadableProperties`](crate::UnreadableProperties).
    pub const UNREADABLE: &str = "unreadable_properties";

    /// Where the broker gave up on a message itself: before its own word for why.
    pub const BROKER: &str = "broker_";

    /// Every code that is given here.
    pub const ALL: [&str; 10] = [
        UNKNOWN,
        PANIC,
        TIME_LIMIT,
        CRASH,
        UNREADABLE,
        "broker_rejected",
        "broker_expired",
        "broker_maxlen",
        "broker_delivery_limit",
        // It did not say why.
        "broker_unknown",
    ];
}

/// Makes a code loud that is on neither the list of who gives it nor the loop's: metrics would count it as `other`, and nobody
/// would know why. A build for development panics, so that a test fails; another one logs it, once in a process for each code.
///
/// # Panics
/// With debug assertions, on a code that is not listed.
pub fn check_code(worker: &'static str, listed: &[&str], code: &'static str) {
    static LOGGED: Mutex<BTreeSet<(&str, &str)>> = Mutex::new(BTreeSet::new());
    let is_listed = listed.contains(&code) || code::ALL.contains(&code);
    debug_assert!(
        is_listed,
        "{worker} gave up on a message with the code {code:?}: expected one of its list, {listed:?}; add it there"
    );
    if !is_listed && LOGGED.lock().unwrap_or_else(PoisonError::into_inner).insert((worker, code)) {
        tracing::error!(worker, code, "a code that its worker does not list: metrics count it as other");
    }
}

/// A worker's error states the fate of each of its cases.
pub trait Fated: std::error::Error + Send + Sync + 'static {
    fn fate(&self) -> Fate;
}

impl Fated for db::Error {
    fn fate(&self) -> Fate {
        match (self.is_hung(), self.is_transient()) {
            (true, _) => Fate::Hung,
            (false, true) => Fate::Transient,
            (false, false) => Fate::Unknown,
        }
    }
}

/// What a panic said, for people.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_of_the_workers_list_or_of_the_loops_is_quiet() {
        check_code("clerk", &["forged"], "forged");
        check_code("clerk", &["forged"], code::PANIC);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "clerk gave up on a message with the code \"forgotten\"")]
    fn a_code_that_its_worker_forgot_to_list_fails_the_test_that_meets_it() {
        check_code("clerk", &["forged"], "forgotten");
    }
}
