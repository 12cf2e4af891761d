//! What of the properties the client cannot read, for people.

use super::pieces::{PROPERTIES, Piece, look};
use std::str;

/// Of a message of many flaws so many are named.
const FLAWS_MAX: usize = 8;

/// Of bytes that are no text so many are shown: all of an id of 16 bytes.
const SHOWN_MAX: usize = 64;

/// What the client cannot read, for people.
pub(crate) fn flaws(properties: &[u8]) -> Vec<String> {
    let (mut flaws, mut more) = (Vec::new(), 0);
    look(properties, |piece| match flaw_text(&piece) {
        Some(_) if flaws.len() == FLAWS_MAX => more += 1,
        text => flaws.extend(text),
    });
    if more > 0 {
        flaws.push(format!("and {more} more"));
    }
    flaws
}

fn flaw_text(piece: &Piece<'_>) -> Option<String> {
    match piece {
        Piece::Property { place, value, flaw: Some(flaw), .. } => {
            Some(format!("the {} {} {}", PROPERTIES[*place].0, shown(value), flaw.as_str()))
        }
        Piece::Header { name, flaw: Some(flaw), .. } => {
            Some(format!("the header {} {}", shown(name), flaw.as_str()))
        }
        Piece::Rest(bytes) => Some(format!("{} bytes at the end are malformed", bytes.len())),
        Piece::Property { flaw: None, .. } | Piece::Header { flaw: None, .. } => None,
    }
}

/// A text; what is none in hexadecimal digits.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(SHOWN_MAX)];
    let dots = if shown.len() < bytes.len() { "..." } else { "" };
    match str::from_utf8(bytes) {
        Ok(text) if bytes.len() <= SHOWN_MAX => format!("{text:?}"),
        _ => format!("\"0x{}{dots}\"", shown.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
}
