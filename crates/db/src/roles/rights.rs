//! What the role that runs the fleet may do to each table, and which functions it calls.

/// What the role that runs may do to a table, besides reading it.
#[derive(Debug, Clone, Copy)]
pub struct Right {
    pub table: &'static str,
    pub insert: bool,
    pub delete: bool,
    pub update: Update,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    Nothing,
    /// A lock of a row needs the right to update one column, whichever.
    Columns(&'static [&'static str]),
    Anything,
}

use Update::{Anything, Columns, Nothing};

/// Kept for good as it was written.
pub(super) const fn kept(table: &'static str) -> Right {
    Right { table, insert: true, delete: false, update: Nothing }
}

pub(super) const fn read(table: &'static str) -> Right {
    Right { table, insert: false, delete: false, update: Nothing }
}

pub(super) const fn changed(table: &'static str, update: Update) -> Right {
    Right { table, insert: true, delete: false, update }
}

const fn passing(table: &'static str, update: Update) -> Right {
    Right { table, insert: true, delete: true, update }
}

/// Every table and view. A test holds this list and the migrations together.
pub const RIGHTS: &[Right] = &[
    kept("transactions"),
    kept("events"),
    kept("catalog_versions"),
    kept("rules_versions"),
    kept("dead_letter_audit"),
    kept("dead_letter_audit_letters"),
    kept("forgone_facts"),
    kept("erasures"),
    kept("audit"),
    // A fact changes once, if it was not understood before: a trigger holds this (inbox_kept).
    changed("inbox", Columns(&["repeats", "recognised_at", "kind", "hash", "fact", "time"])),
    // An outcome goes where it was a refusal: by a trigger (outcomes_kept).
    passing("outcomes", Nothing),
    // What was admitted before a reader existed is its own once all of it was handed over.
    passing("readers", Columns(&["since"])),
    changed(
        "hand_overs",
        Columns(&["state", "ended_at", "facts", "place", "handed_over", "left_out", "unreadable"]),
    ),
    passing("hand_over_facts", Nothing),
    changed("payment_ids", Columns(&["payment"])),
    changed("customers", Columns(&["account", "email", "email_at"])),
    changed("payments", Anything),
    changed("accounts", Anything),
    changed("lots", Anything),
    changed("disputes", Anything),
    changed("restrictions", Columns(&["since", "ended_at", "lifted_by"])),
    // Erasing a person's data deletes them.
    passing("evidence_packs", Nothing),
    passing("evidence_submissions", Columns(&["state", "file", "answer", "ended_at"])),
    passing("raw_deliveries", Nothing),
    passing("kept_messages", Columns(&["refusals"])),
    passing("outbox", Columns(&["created_at"])),
    passing("suspects", Columns(&["tries"])),
    passing("dead_letters", Anything),
    passing("fingerprints", Nothing),
    passing("replays", Anything),
    passing("replay_letters", Anything),
    passing("alerts", Anything),
    passing("jobs", Anything),
    read("entries"),
    read("facts_given_up"),
    // Texts are erased by `erase_texts` alone.
    read("erased_facts"),
    read("facts_with_texts"),
    read("_sqlx_migrations"),
];

/// The functions that the role that runs calls. Whatever else a migration makes is not its to call: triggers run without.
pub const FUNCTIONS: &[&str] =
    &["erase_texts", "told_with", "deliveries_of", "without_texts", "dead_letters_meant", "dead_letter_fits"];
