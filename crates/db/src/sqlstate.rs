//! What an error of Postgres means for the work that met it, by its SQLSTATE (Appendix A of the Postgres manual).
//!
//! The cause of a code without a row is unknown: the loop tries the work a few times and gives up on it. A row of five letters
//! goes before the row of its class.

/// Whether the same work can succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Means {
    /// It passes, or is mended by somebody: the work waits, and no message is at fault.
    Waits,
    /// As [`Means::Waits`], and every connection that was open then would meet it again: the pool makes them anew, and the log
    /// says what to look for.
    WaitsOnNewConnections(&'static str),
    /// The statement took too long. It may pass, and it may be what the statement was to do.
    Hung,
}

use Means::{Hung, Waits, WaitsOnNewConnections};

const POOLED: &str = "statements of one session reach several: is there a pooler in transaction mode in between? Bursar needs session mode";

const TABLE: [(&str, Means, &str); 30] = [
    ("08", Waits, "connection exceptions"),
    (
        "0A000",
        WaitsOnNewConnections("the database's tables changed under a prepared statement"),
        "cached plan must not change result type",
    ),
    ("25001", WaitsOnNewConnections(POOLED), "a transaction is under way already"),
    (
        "25006",
        WaitsOnNewConnections("the database takes no changes: a failover, or default_transaction_read_only"),
        "a read-only transaction",
    ),
    ("25P01", WaitsOnNewConnections(POOLED), "no transaction is under way"),
    ("25P02", Waits, "the transaction has failed already"),
    ("25P03", Waits, "ended for idling in a transaction"),
    ("26000", WaitsOnNewConnections(POOLED), "a prepared statement that does not exist"),
    ("28", Waits, "no such login, or no password"),
    ("34000", WaitsOnNewConnections(POOLED), "a portal that does not exist"),
    ("3B001", WaitsOnNewConnections(POOLED), "a savepoint that does not exist"),
    ("3D", Waits, "no such database"),
    ("3F", Waits, "no such schema"),
    ("40001", Waits, "could not serialize"),
    ("40003", Waits, "whether the statement completed is not known"),
    ("40P01", Waits, "deadlock"),
    ("42", Waits, "no such table, column, function or right: migrations are missing, or rights"),
    ("42P03", WaitsOnNewConnections(POOLED), "a portal that exists already"),
    ("42P05", WaitsOnNewConnections(POOLED), "a prepared statement that exists already"),
    ("53", Waits, "no disk, memory or connection left"),
    ("55000", Waits, "not in the state for it"),
    ("55006", Waits, "in use"),
    ("55P02", Waits, "a setting that cannot be changed now"),
    ("55P03", Waits, "another transaction held a lock for too long"),
    ("57", Waits, "an operator's doing: shut down, crashed, starting, dropped"),
    ("57014", Hung, "the statement was cancelled, over its time"),
    ("57P05", Waits, "ended for idling"),
    ("58", Waits, "the operating system's errors"),
    ("72000", Waits, "the snapshot is too old"),
    ("F0", Waits, "its configuration cannot be read"),
];

/// The most exact row.
pub(crate) fn means(code: &str) -> Option<Means> {
    let fitting = TABLE.iter().filter(|(row, ..)| code.starts_with(row));
    fitting.max_by_key(|(row, ..)| row.len()).map(|(_, means, _)| *means)
}

/// Of a table that does not exist.
pub(crate) const UNDEFINED_TABLE: &str = "42P01";

/// Of a role, a table or a schema that one may not use.
pub(crate) const FORBIDDEN: &str = "42501";

/// Whether it says that a function, a table or a column does not exist.
pub(crate) fn is_undefined(code: &str) -> bool {
    matches!(code, "42883" | UNDEFINED_TABLE | "42703")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_by_its_sqlstate() {
        for code in [
            "08000", "08003", "08006", "08P01", "25P02", "25P03", "28P01", "28000", "3D000", "3F000",
            "40001", "40003", "40P01", "42P01", "42703", "42501", "53000", "53100", "53200", "53300",
            "53400", "55000", "55006", "55P02", "55P03", "57000", "57P01", "57P02", "57P03", "57P04",
            "57P05", "58000", "58030", "58P01", "58P02", "72000", "F0000",
        ] {
            assert_eq!(means(code), Some(Waits), "{code}");
        }
        assert_eq!(means("57014"), Some(Hung));
        for code in ["23505", "23514", "22003", "22021", "21000", "40002", "54000", "P0001", "XX000", "", "2"]
        {
            assert_eq!(means(code), None, "{code}");
        }
    }

    #[test]
    fn what_a_connection_would_meet_again_is_said_loudly_and_never_a_dead_letter() {
        for code in ["0A000", "25001", "25006", "25P01", "26000", "34000", "3B001", "42P03", "42P05"] {
            assert!(matches!(means(code), Some(WaitsOnNewConnections(_))), "{code}");
        }
    }

    #[test]
    fn each_row_is_a_class_or_a_code_and_stands_once() {
        for (number, (row, ..)) in TABLE.iter().enumerate() {
            assert!(matches!(row.len(), 2 | 5), "{row}");
            assert!(TABLE[number + 1..].iter().all(|(later, ..)| later > row), "{row} is out of order");
        }
    }
}
