//! Members of JSON that tell where something came from, replaced in the bytes as they are.
//!
//! What is no JSON is read as well, as far as a name and a colon can be seen: a message that somebody cut off, or wrote wrong, is
//! kept for an operator to look at. Everything else stays to the byte. Neither recursion nor copies where nothing is found.

use super::{Place, stays};
use domain::fact::REMOVED;
use std::borrow::Cow;
use std::ops::Range;

/// What a member is replaced by.
pub(super) enum Member {
    Digest(String),
    Removed,
    Null,
}

impl Member {
    fn text(self) -> String {
        match self {
            Member::Digest(digest) => format!("\"{digest}\""),
            Member::Removed => format!("\"{REMOVED}\""),
            Member::Null => "null".to_owned(),
        }
    }
}

/// A name with each of its characters escaped, and its quotes.
const NAME_BYTES_MAX: usize = 6 * "device".len() + 2;

/// Replaces each such member as `decide` says of its text; of what is no text it is told nothing. What is null, a digest or erased
/// stays.
pub(super) fn rewrite(bytes: &[u8], decide: impl Fn(Place, Option<&str>) -> Member) -> Cow<'_, [u8]> {
    let (mut rewritten, mut copied, mut at) = (Vec::new(), 0, 0);
    while let Some((place, value)) = next(bytes, at) {
        // What ends it may begin a name, in a message that is written wrong.
        at = value.end.saturating_sub(1).max(value.start);
        let told = &bytes[value.clone()];
        let text = serde_json::from_slice::<String>(told).ok();
        if told.is_empty() || told == b"null" || text.as_deref().is_some_and(stays) {
            continue;
        }
        rewritten.extend_from_slice(&bytes[copied..value.start]);
        rewritten.extend_from_slice(decide(place, text.as_deref()).text().as_bytes());
        copied = value.end;
    }
    if copied == 0 {
        return Cow::Borrowed(bytes);
    }
    rewritten.extend_from_slice(&bytes[copied..]);
    Cow::Owned(rewritten)
}

/// The next such member from a place on, and where its value stands.
fn next(bytes: &[u8], from: usize) -> Option<(Place, Range<usize>)> {
    let mut quotes = (from..bytes.len()).filter(|at| bytes[*at] == b'"');
    quotes.find_map(|quote| {
        let (place, after) = name(bytes, quote)?;
        let colon = after + blanks(&bytes[after..]);
        if bytes.get(colon) != Some(&b':') {
            return None;
        }
        let start = colon + 1 + blanks(&bytes[colon + 1..]);
        let end = start + value_length(&bytes[start..]);
        Some((place, start..end))
    })
}

/// The place whose name begins at this quote, and where the name ends. A name may be escaped.
fn name(bytes: &[u8], quote: usize) -> Option<(Place, usize)> {
    if !matches!(bytes.get(quote + 1)?, b'i' | b'I' | b'd' | b'D' | b'\\') {
        return None;
    }
    let rest = &bytes[quote..bytes.len().min(quote + NAME_BYTES_MAX)];
    let length = text_length(rest);
    let name: String = serde_json::from_slice(&rest[..length]).ok()?;
    Some((Place::named(&name)?, quote + length))
}

fn blanks(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Of a text with its quotes: up to the one that ends it, else all that is left.
fn text_length(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn value_length(bytes: &[u8]) -> usize {
    match bytes.first() {
        Some(b'"') => text_length(bytes),
        Some(b'{' | b'[') => nested_length(bytes),
        Some(_) => {
            let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
            bytes.iter().position(ends).unwrap_or(bytes.len())
        }
        None => 0,
    }
}

/// Of an object or a list: up to the bracket that ends it, else all that is left.
fn nested_length(bytes: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at += text_length(&bytes[at..]),
            b'{' | b'[' => (depth, at) = (depth + 1, at + 1),
            b'}' | b']' => {
                (depth, at) = (depth - 1, at + 1);
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}
