//! Labels of metrics: words of our own alone. What somebody else wrote counts as `other`, so that nobody makes up series.

/// Why the fleet gives up on a message, in machine-readable words: every code that a dead letter of its own may have.
const CODES: [&str; 12] = [
    "conflict",
    "crash",
    "forbidden",
    "malformed",
    "nowhere_durable",
    "panic",
    "time_limit",
    "too_many_credits",
    "two_payments",
    "unexplained",
    "unknown",
    "unverified",
];

/// What counts where it is none of ours.
pub const OTHER: &str = "other";

/// The code of a dead letter as a label.
pub fn code(code: &str) -> &'static str {
    CODES.into_iter().find(|known| *known == code).unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_that_the_loop_gives_is_a_label_and_nothing_else_is() {
        for known in [
            bus::code::CRASH,
            bus::code::PANIC,
            bus::code::TIME_LIMIT,
            bus::code::UNKNOWN,
            "conflict",
            "unexplained",
        ] {
            assert_eq!(code(known), known);
        }
        for foreign in ["", "Malformed", "malformed ", "x\ny", "jane@example.com"] {
            assert_eq!(code(foreign), OTHER);
        }
    }
}
