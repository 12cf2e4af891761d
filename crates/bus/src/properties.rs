//! The properties of a message as they came over the wire: which of them the client can parse, and what is wrong with the
//! others. Nothing here recurses, and nothing is believed: a length is held against what is there.

mod bytes;
mod flaws;
mod pieces;

pub(crate) use bytes::Bytes;
pub(crate) use flaws::{flaws, shown};

use pieces::{HEADERS, Piece, flag, look};

/// Whether the client can parse them.
pub(crate) fn are_sound(properties: &[u8]) -> bool {
    let mut sound = true;
    look(properties, |piece| sound &= piece.is_sound());
    sound
}

/// A header with a text of its own, before those that can be read and fit, in `headers_max` bytes altogether; and the
/// properties that can be read.
pub(crate) fn readable(properties: &[u8], own: (&str, &str), headers_max: usize) -> Vec<u8> {
    let (mut first, mut last, mut flags) = (Vec::new(), Vec::new(), flag(HEADERS));
    let mut headers = Vec::new();
    look(properties, |piece| match piece {
        Piece::Property { place, bytes, flaw: None, .. } => {
            flags |= flag(place);
            if place < HEADERS { &mut first } else { &mut last }.extend_from_slice(bytes);
        }
        Piece::Header { name, bytes, flaw: None } if !name.eq_ignore_ascii_case(own.0.as_bytes()) => {
            headers.push((name, bytes));
        }
        Piece::Property { .. } | Piece::Header { .. } | Piece::Rest(_) => {}
    });
    // What the broker says of the message comes first.
    headers.sort_by_key(|(name, _)| !is_of_broker(name));
    let mut table = header(own.0, own.1);
    for (_, bytes) in headers {
        if table.len() + bytes.len() <= headers_max {
            table.extend_from_slice(bytes);
        }
    }
    let length = u32::try_from(table.len()).unwrap_or(u32::MAX);
    [&flags.to_be_bytes()[..], &first, &length.to_be_bytes(), &table, &last].concat()
}

fn header(name: &str, value: &str) -> Vec<u8> {
    let (name_length, value_length) = (name.len() as u8, value.len() as u32);
    [&[name_length][..], name.as_bytes(), b"S", &value_length.to_be_bytes(), value.as_bytes()].concat()
}

fn is_of_broker(name: &[u8]) -> bool {
    name.starts_with(b"x-")
}

/// The same for the same message, however often it was delivered: without what the broker counts in headers of its own, and
/// whichever order it gives the others then.
pub(crate) fn identity(properties: &[u8]) -> Vec<u8> {
    let (mut identity, mut headers) = (Vec::with_capacity(properties.len()), Vec::new());
    look(properties, |piece| match piece {
        Piece::Property { place, bytes, .. } => {
            identity.push(place as u8);
            identity.extend_from_slice(bytes);
        }
        Piece::Header { name, .. } if is_of_broker(name) => {}
        Piece::Header { bytes, .. } | Piece::Rest(bytes) => headers.push(bytes),
    });
    headers.sort_unstable();
    identity.extend(headers.concat());
    identity
}
