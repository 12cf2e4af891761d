//! The properties of a message in their pieces, and what is wrong with each. Nothing here recurses.

use super::bytes::Bytes;
use std::str;

/// Lists and tables in one another. The broker's own (`x-death`) take three.
const DEPTH_MAX: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PropertyKind {
    Text,
    Table,
    Byte,
    Time,
}

/// In the order of their flags, the highest bit first.
pub(super) const PROPERTIES: [(&str, PropertyKind); 14] = [
    ("content type", PropertyKind::Text),
    ("content encoding", PropertyKind::Text),
    ("headers", PropertyKind::Table),
    ("delivery mode", PropertyKind::Byte),
    ("priority", PropertyKind::Byte),
    ("correlation id", PropertyKind::Text),
    ("reply-to", PropertyKind::Text),
    ("expiration", PropertyKind::Text),
    ("message id", PropertyKind::Text),
    ("timestamp", PropertyKind::Time),
    ("type", PropertyKind::Text),
    ("user id", PropertyKind::Text),
    ("app id", PropertyKind::Text),
    ("cluster id", PropertyKind::Text),
];

pub(super) const HEADERS: usize = 2;

pub(super) fn flag(place: usize) -> u16 {
    1 << (15 - place)
}

/// Why the client cannot read something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    NotText,
    TooDeep,
    Malformed,
}

impl Flaw {
    pub fn as_str(self) -> &'static str {
        match self {
            Flaw::NotText => "is no UTF-8",
            Flaw::TooDeep => "has lists in lists deeper than is read",
            Flaw::Malformed => "is malformed",
        }
    }
}

/// A piece of the properties, with all of its bytes.
pub(super) enum Piece<'a> {
    Property {
        place: usize,
        value: &'a [u8],
        bytes: &'a [u8],
        flaw: Option<Flaw>,
    },
    Header {
        name: &'a [u8],
        bytes: &'a [u8],
        flaw: Option<Flaw>,
    },
    /// Nobody can say where a piece begins or ends in these bytes.
    Rest(&'a [u8]),
}

impl Piece<'_> {
    pub fn is_sound(&self) -> bool {
        match self {
            Piece::Property { flaw, .. } | Piece::Header { flaw, .. } => flaw.is_none(),
            Piece::Rest(_) => false,
        }
    }
}

/// Shows every piece, in their order.
pub(super) fn look<'a>(properties: &'a [u8], mut see: impl FnMut(Piece<'a>)) {
    let mut left = Bytes(properties);
    let Some(flags) = left.take(2) else { return see(Piece::Rest(properties)) };
    let flags = u16::from_be_bytes([flags[0], flags[1]]);
    for (place, (_, kind)) in PROPERTIES.into_iter().enumerate() {
        if flags & flag(place) == 0 {
            continue;
        }
        let start = left;
        let Some(value) = property(&mut left, kind) else { return see(Piece::Rest(start.0)) };
        let flaw = (kind == PropertyKind::Text && str::from_utf8(value).is_err()).then_some(Flaw::NotText);
        match kind {
            PropertyKind::Table => look_at_headers(value, &mut see),
            PropertyKind::Text | PropertyKind::Byte | PropertyKind::Time => {
                see(Piece::Property { place, value, bytes: start.before(left), flaw });
            }
        }
    }
    if !left.0.is_empty() {
        see(Piece::Rest(left.0));
    }
}

fn property<'a>(left: &mut Bytes<'a>, kind: PropertyKind) -> Option<&'a [u8]> {
    match kind {
        PropertyKind::Text => left.short(),
        PropertyKind::Table => left.long(),
        PropertyKind::Byte => left.take(1),
        PropertyKind::Time => left.take(8),
    }
}

fn look_at_headers<'a>(table: &'a [u8], see: &mut impl FnMut(Piece<'a>)) {
    let mut left = Bytes(table);
    while !left.0.is_empty() {
        let start = left;
        let mut header = || {
            let name = left.short()?;
            let letter = left.byte()?;
            Some((name, letter, left.value(letter)?))
        };
        let Some((name, letter, value)) = header() else { return see(Piece::Rest(start.0)) };
        let flaw = match str::from_utf8(name) {
            Err(_) => Some(Flaw::NotText),
            Ok(_) => flaw_within(letter, value),
        };
        see(Piece::Header { name, bytes: start.before(left), flaw });
    }
}

fn flaw_within(letter: u8, value: &[u8]) -> Option<Flaw> {
    if !matches!(letter, b'A' | b'F') {
        return None;
    }
    let mut open = vec![(letter, Bytes(value))];
    while let Some((letter, left)) = open.last_mut() {
        if left.0.is_empty() {
            open.pop();
            continue;
        }
        if *letter == b'F' && str::from_utf8(left.short().unwrap_or(b"\xff")).is_err() {
            return Some(Flaw::NotText);
        }
        let inner = left.byte().and_then(|letter| Some((letter, left.value(letter)?)));
        let Some((letter, value)) = inner else { return Some(Flaw::Malformed) };
        if matches!(letter, b'A' | b'F') {
            if open.len() == DEPTH_MAX {
                return Some(Flaw::TooDeep);
            }
            open.push((letter, Bytes(value)));
        }
    }
    None
}
