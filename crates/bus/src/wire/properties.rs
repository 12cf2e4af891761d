//! The properties of a message as they came over the wire: which of them the client can parse, and what is wrong with the
//! others. Nothing here recurses, and nothing is believed: a length is held against what is there.

use std::str;

/// Lists and tables in one another. The broker's own (`x-death`) take three.
const DEPTH_MAX: usize = 32;

/// What is told of a message of many flaws.
const FLAWS_MAX: usize = 8;

/// Of a text that is none so many bytes are shown: an id of 16 bytes is told as it came.
const SHOWN_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Table,
    Byte,
    Time,
}

/// In the order of their flags, the highest bit first.
const PROPERTIES: [(&str, Kind); 14] = [
    ("content type", Kind::Text),
    ("content encoding", Kind::Text),
    ("headers", Kind::Table),
    ("delivery mode", Kind::Byte),
    ("priority", Kind::Byte),
    ("correlation id", Kind::Text),
    ("reply-to", Kind::Text),
    ("expiration", Kind::Text),
    ("message id", Kind::Text),
    ("timestamp", Kind::Time),
    ("type", Kind::Text),
    ("user id", Kind::Text),
    ("app id", Kind::Text),
    ("cluster id", Kind::Text),
];

const HEADERS: usize = 2;

fn flag(place: usize) -> u16 {
    1 << (15 - place)
}

/// Why the client cannot read something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    NotText,
    TooDeep,
    Malformed,
}

impl Flaw {
    fn as_str(self) -> &'static str {
        match self {
            Flaw::NotText => "is no UTF-8",
            Flaw::TooDeep => "has lists in lists deeper than is read",
            Flaw::Malformed => "is malformed",
        }
    }
}

/// A part of the properties, with all of its bytes.
enum Part<'a> {
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
    /// Where one begins and ends cannot be told any more.
    Rest(&'a [u8]),
}

impl Part<'_> {
    fn is_sound(&self) -> bool {
        match self {
            Part::Property { flaw, .. } | Part::Header { flaw, .. } => flaw.is_none(),
            Part::Rest(_) => false,
        }
    }
}

/// What is left to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|taken| taken[0])
    }

    /// A short string's bytes.
    pub fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.byte()?;
        self.take(length.into())
    }

    fn long(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        self.take(usize::try_from(length).ok()?)
    }

    fn property(&mut self, kind: Kind) -> Option<&'a [u8]> {
        match kind {
            Kind::Text => self.short(),
            Kind::Table => self.long(),
            Kind::Byte => self.take(1),
            Kind::Time => self.take(8),
        }
    }

    /// A value of a table or a list, by the letter of its type as RabbitMQ reads it; of what has a length, without that.
    fn value(&mut self, letter: u8) -> Option<&'a [u8]> {
        match letter {
            b'V' => self.take(0),
            b't' | b'b' | b'B' => self.take(1),
            b's' | b'U' | b'u' => self.take(2),
            b'I' | b'i' | b'f' => self.take(4),
            b'D' => self.take(5),
            b'L' | b'l' | b'd' | b'T' => self.take(8),
            b'S' | b'x' | b'A' | b'F' => self.long(),
            _ => None,
        }
    }

    /// The bytes by which this is ahead of what is left of them.
    fn before(self, left: Bytes<'_>) -> &'a [u8] {
        &self.0[..self.0.len() - left.0.len()]
    }
}

/// Shows every part, in their order.
fn look<'a>(properties: &'a [u8], mut see: impl FnMut(Part<'a>)) {
    let mut left = Bytes(properties);
    let Some(flags) = left.take(2) else { return see(Part::Rest(properties)) };
    let flags = u16::from_be_bytes([flags[0], flags[1]]);
    for (place, (_, kind)) in PROPERTIES.into_iter().enumerate() {
        if flags & flag(place) == 0 {
            continue;
        }
        let start = left;
        let Some(value) = left.property(kind) else { return see(Part::Rest(start.0)) };
        let flaw = (kind == Kind::Text && str::from_utf8(value).is_err()).then_some(Flaw::NotText);
        match kind {
            Kind::Table => look_at_headers(value, &mut see),
            Kind::Text | Kind::Byte | Kind::Time => {
                see(Part::Property { place, value, bytes: start.before(left), flaw });
            }
        }
    }
    if !left.0.is_empty() {
        see(Part::Rest(left.0));
    }
}

fn look_at_headers<'a>(table: &'a [u8], see: &mut impl FnMut(Part<'a>)) {
    let mut left = Bytes(table);
    while !left.0.is_empty() {
        let start = left;
        let mut header = || {
            let name = left.short()?;
            let letter = left.byte()?;
            Some((name, letter, left.value(letter)?))
        };
        let Some((name, letter, value)) = header() else { return see(Part::Rest(start.0)) };
        let flaw = match str::from_utf8(name) {
            Err(_) => Some(Flaw::NotText),
            Ok(_) => flaw_within(letter, value),
        };
        see(Part::Header { name, bytes: start.before(left), flaw });
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

/// Whether the client can parse them.
pub(super) fn are_sound(properties: &[u8]) -> bool {
    let mut sound = true;
    look(properties, |part| sound &= part.is_sound());
    sound
}

/// A header with a text of its own, before those that can be read and fit, in `headers_max` bytes altogether; and the
/// properties that can be read.
pub(super) fn readable(properties: &[u8], own: (&str, &str), headers_max: usize) -> Vec<u8> {
    let (mut first, mut last, mut flags) = (Vec::new(), Vec::new(), flag(HEADERS));
    let mut headers = Vec::new();
    look(properties, |part| match part {
        Part::Property { place, bytes, flaw: None, .. } => {
            flags |= flag(place);
            if place < HEADERS { &mut first } else { &mut last }.extend_from_slice(bytes);
        }
        Part::Header { name, bytes, flaw: None } if !name.eq_ignore_ascii_case(own.0.as_bytes()) => {
            headers.push((name, bytes));
        }
        Part::Property { .. } | Part::Header { .. } | Part::Rest(_) => {}
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
    look(properties, |part| match part {
        Part::Property { place, bytes, .. } => {
            identity.push(place as u8);
            identity.extend_from_slice(bytes);
        }
        Part::Header { name, .. } if is_of_broker(name) => {}
        Part::Header { bytes, .. } | Part::Rest(bytes) => headers.push(bytes),
    });
    headers.sort_unstable();
    identity.extend(headers.concat());
    identity
}

/// What the client cannot read, for people.
pub(crate) fn flaws(properties: &[u8]) -> Vec<String> {
    let (mut flaws, mut more) = (Vec::new(), 0);
    look(properties, |part| match told(&part) {
        Some(_) if flaws.len() == FLAWS_MAX => more += 1,
        told => flaws.extend(told),
    });
    if more > 0 {
        flaws.push(format!("and {more} more"));
    }
    flaws
}

fn told(part: &Part<'_>) -> Option<String> {
    match part {
        Part::Property { place, value, flaw: Some(flaw), .. } => {
            Some(format!("the {} {} {}", PROPERTIES[*place].0, shown(value), flaw.as_str()))
        }
        Part::Header { name, flaw: Some(flaw), .. } => {
            Some(format!("the header {} {}", shown(name), flaw.as_str()))
        }
        Part::Rest(bytes) => Some(format!("{} bytes at the end are malformed", bytes.len())),
        Part::Property { flaw: None, .. } | Part::Header { flaw: None, .. } => None,
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
