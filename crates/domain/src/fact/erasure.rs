//! Text that people wrote into facts, and what a fact says without it.
//!
//! A description, a reason, a refund request's words: somebody wrote them, perhaps about somebody, and no rule reads them.
//! They can be erased; identity, amounts and the account stand. Ids, references among them, are no such text: they are what
//! a fact is found by.

/// What stands where a text was.
pub const ERASED: &str = "[erased]";

pub(super) fn erase(text: &mut String) {
    ERASED.clone_into(text);
}

/// A text that is not there stays so.
pub(super) fn erase_if_any(text: &mut Option<String>) {
    text.iter_mut().for_each(erase);
}
