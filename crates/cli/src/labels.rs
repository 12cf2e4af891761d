//! Labels of metrics: words of our own alone. What somebody else wrote counts as `other`, so that nobody makes up series.

use crate::workers;

/// What counts where it is none of ours.
pub const OTHER: &str = "other";

/// Why the fleet gives up on a message, in machine-readable words: every code that a dead letter of its own may have, as those
/// list them who give them.
fn codes() -> impl Iterator<Item = &'static str> {
    let workers = workers::ALL.into_iter().flat_map(|worker| worker.spec.codes);
    workers.chain(&bus::code::ALL).chain(&jobs::code::ALL).copied()
}

/// The code of a dead letter as a label.
pub fn code(code: &str) -> &'static str {
    codes().find(|known| *known == code).unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_that_a_worker_or_the_loop_gives_is_a_label_and_nothing_else_is() {
        for known in codes().chain([
            bus::code::UNREADABLE,
            "broker_delivery_limit",
            "conflict",
            "unexplained",
            "two_payments",
            "nowhere_durable",
        ]) {
            assert_eq!(code(known), known);
            assert!(known.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{known}");
        }
        for foreign in ["", "Malformed", "malformed ", "x\ny", "broker_x", "jane@example.com"] {
            assert_eq!(code(foreign), OTHER);
        }
    }
}
