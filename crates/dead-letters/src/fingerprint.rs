//! Which failures are one kind: worker, type of fact, code, and the reason without what differs from message to message.

use sha2::{Digest, Sha256};

/// Stands for whatever differs.
const MASK: char = '*';

/// All others together: whatever somebody wrote where a worker's name belongs.
pub(crate) const FOREIGN: &str = "";

/// 12 hexadecimal digits: 48 bits, so that among a thousand kinds two are taken for one once in half a billion fleets.
pub(crate) fn of(worker: &str, fact_type: Option<&str>, code: &str, reason: &str) -> String {
    let mut hash = Sha256::new();
    for part in [worker, fact_type.unwrap_or(""), code, &masked(reason)] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::encode(&hash.finalize()[..6])
}

/// A reason without quoted texts, JSON, and words with a digit in them: amounts, times, ids.
pub(crate) fn masked(reason: &str) -> String {
    let mut masked = String::new();
    let mut rest = reason;
    while let Some(first) = rest.chars().next() {
        let before = masked.chars().next_back();
        let length = match first {
            '"' | '`' => Some(quoted(rest)),
            // Not an apostrophe.
            '\'' if !before.is_some_and(is_word) => Some(quoted(rest)),
            '{' => Some(bracketed(rest)),
            // A list; not a name in brackets.
            '[' if rest[1..].starts_with(|c: char| matches!(c, '{' | '"' | '-' | '0'..='9')) => {
                Some(bracketed(rest))
            }
            _ => None,
        };
        if let Some(length) = length {
            // A field that is missing: its name is ours.
            match first == '`' && masked.ends_with("missing field ") {
                true => masked.push_str(&rest[..length]),
                false => masked.push(MASK),
            }
            rest = &rest[length..];
            continue;
        }
        let length =
            rest.find(|c: char| !is_word(c)).filter(|length| *length > 0).unwrap_or(first.len_utf8());
        let length = if is_word(first) && rest.chars().all(is_word) { rest.len() } else { length };
        let (word, after) = rest.split_at(length);
        if word.bytes().any(|byte| byte.is_ascii_digit()) {
            masked.push(MASK);
        } else {
            masked.push_str(word);
        }
        rest = after;
    }
    masked
}

/// Ids and amounts are one word: `paddle:txn_01h8`, `2026-11-20T10:00:00Z`, `12.50`.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/' | '+')
}

/// The length of a quoted text with its quotes; one that was cut off goes as far as the text.
fn quoted(text: &str) -> usize {
    let quote = text.chars().next();
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            // An apostrophe ends nothing.
            '\'' if text[at + 1..].starts_with(is_word) => {}
            _ if Some(c) == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of an object or list with its brackets; without an end it goes as far as the text.
fn bracketed(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_message_to_message_is_masked() {
        let check = |reason: &str, expect: &str| assert_eq!(masked(reason), expect, "{reason}");
        check("", "");
        check("it panicked: no way", "it panicked: no way");
        check(
            "expected received_at within the last 3 days, got 2026-11-20T10:00:00Z",
            "expected received_at within the last * days, got *",
        );
        check(
            "publisher \"shop \\\"7\\\"\" may not state fact.usage",
            "publisher * may not state fact.usage",
        );
        check("paddle/evt_01 was admitted. Came: {\"a\":{\"b\":[1]}}", "* was admitted. Came: *");
        check("Came: {\"cut", "Came: *");
        check("see [[publishers]] of [1,2]", "see [[publishers]] of *");
        check("unknown variant `cccc`, expected `a` or `b`", "unknown variant *, expected * or *");
        check("unknown field `Jane`", "unknown field *");
        check("missing field `account` at line 1", "missing field `account` at line *");
        check("a name that was cut: \"Jane D", "a name that was cut: *");
        check("a name that was cut: `Jane D", "a name that was cut: *");
        check("it's the ledger's, not 'Jane O'Hara', nor 'Jim'", "it's the ledger's, not *, nor *");
        check("übel at 12.50 (ünd)", "übel at * (ünd)");
        check("item7", "*");
    }

    #[test]
    fn a_kind_is_its_worker_type_code_and_masked_reason() {
        let kind = of("ledger", Some("fact.usage"), "unknown", "it failed for acct_1");
        assert_eq!(kind, of("ledger", Some("fact.usage"), "unknown", "it failed for acct_2"));
        assert_eq!(kind.len(), 12);
        for other in [
            of("gate", Some("fact.usage"), "unknown", "it failed for acct_1"),
            of("ledger", None, "unknown", "it failed for acct_1"),
            of("ledger", Some("fact.usage"), "panic", "it failed for acct_1"),
            of("ledger", Some("fact.usage"), "unknown", "it fell for acct_1"),
        ] {
            assert_ne!(kind, other);
        }
    }
}
