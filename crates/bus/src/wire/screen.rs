//! Frames from the broker, as they go on to the client.

use crate::header;
use crate::properties::{self, Bytes};
use crate::unreadable::UnreadableProperties;
use std::collections::BTreeMap;
use std::io::{Error, Result};
use std::sync::LazyLock;
use uuid::Uuid;

const METHOD: u8 = 1;
const CONTENT_HEADER: u8 = 2;
const BODY: u8 = 3;
/// `AMQP` and a version: the server's answer to a client of another one. It is no frame.
const OTHER_VERSION: u8 = b'A';
const END: u8 = 0xCE;

/// Before a frame's content: type, channel, length.
const BEFORE: usize = 7;
const AROUND: usize = BEFORE + 1;

/// Class, weight and the length of the body, before the properties.
const BEFORE_PROPERTIES: usize = 12;

/// What is looked at is held until all of it is there. A server that is configured to take larger ones sends no such thing
/// by mistake.
const HELD_MAX: usize = 16 * 1024 * 1024;

/// Until the server has said how large a frame may be at most: RabbitMQ's default. None is smaller than the least.
const FRAME_MAX: usize = 128 * 1024;
const FRAME_MIN: usize = 4096;

/// Of a frame so much is left to the properties that are texts, of which each has 256 bytes at most.
const TEXTS_MAX: usize = 3 * 1024;

/// Class and method of what a message begins with, and of the server's limits.
const DELIVER: [u8; 4] = [0, 60, 0, 60];
const GET_OK: [u8; 4] = [0, 60, 0, 71];
const RETURN: [u8; 4] = [0, 60, 0, 50];
const TUNE: [u8; 4] = [0, 10, 0, 30];

/// Nobody but this process can say of a message that it was set aside here.
static WORD: LazyLock<String> = LazyLock::new(|| Uuid::now_v7().simple().to_string());

/// How many bytes of the body are those of an unreadable message, by the header that says so.
pub(crate) fn set_aside(header: &str) -> Option<usize> {
    header.strip_prefix(WORD.as_str())?.strip_prefix(':')?.parse().ok()
}

pub(super) struct Screen {
    /// The beginning of a frame.
    held: Vec<u8>,
    /// So much of a frame goes on as it is.
    passing: usize,
    /// How messages came whose properties are still to come, by channel; where that cannot be read.
    routings: BTreeMap<u16, UnreadableProperties>,
    /// What the client asks for; nothing is what the server says.
    asked: usize,
    frame_max: usize,
}

impl Screen {
    pub fn new(asked: u32) -> Self {
        let asked = usize::try_from(asked).unwrap_or(usize::MAX);
        Self { held: Vec::new(), passing: 0, routings: BTreeMap::new(), asked, frame_max: FRAME_MAX }
    }

    /// Takes what came, and adds what of it may go on.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
        if self.held.is_empty() {
            let left = self.work_off(bytes, out)?;
            self.held.extend_from_slice(left);
            return Ok(());
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let left = self.work_off(&held, out)?.len();
        held.drain(..held.len() - left);
        self.held = held;
        Ok(())
    }

    /// What is left is the beginning of a frame that is to be looked at.
    fn work_off<'a>(&mut self, mut bytes: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8]> {
        loop {
            let (passing, rest) = bytes.split_at(self.passing.min(bytes.len()));
            out.extend_from_slice(passing);
            self.passing -= passing.len();
            bytes = rest;
            let Some(before) = bytes.first_chunk::<BEFORE>() else { return Ok(bytes) };
            let [kind, c0, c1, length @ ..] = *before;
            let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            let whole = length.saturating_add(AROUND);
            match kind {
                METHOD | CONTENT_HEADER => {}
                OTHER_VERSION => {
                    self.passing = 8;
                    continue;
                }
                _ => {
                    self.passing = whole;
                    continue;
                }
            }
            if whole > HELD_MAX {
                return Err(Error::other(format!("a frame of {whole} bytes, at most {HELD_MAX} are read")));
            }
            let Some((frame, rest)) = bytes.split_at_checked(whole) else { return Ok(bytes) };
            self.examine(kind, u16::from_be_bytes([c0, c1]), frame, out);
            bytes = rest;
        }
    }

    fn examine(&mut self, kind: u8, channel: u16, frame: &[u8], out: &mut Vec<u8>) {
        let content = &frame[BEFORE..frame.len() - 1];
        let passes = match kind {
            METHOD => self.examine_method(channel, content, out),
            _ => self.examine_header(channel, content, frame.len(), out),
        };
        if passes {
            out.extend_from_slice(frame);
        }
    }

    /// Tells whether it goes on as it is.
    fn examine_method(&mut self, channel: u16, content: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(method) = content.first_chunk::<4>() else { return true };
        if *method == TUNE {
            self.tune(content);
        }
        let Some(mut routed) = Routed::read(*method, content) else { return true };
        if !self.routings.is_empty() {
            self.routings.remove(&channel);
        }
        if std::str::from_utf8(routed.exchange).and(std::str::from_utf8(routed.routing_key)).is_ok() {
            return true;
        }
        let (exchange, routing_key) = (legible(routed.exchange), legible(routed.routing_key));
        let unreadable = UnreadableProperties::routed(routed.exchange, routed.routing_key);
        (routed.exchange, routed.routing_key) = (&exchange, &routing_key);
        frame(out, METHOD, channel, &routed.content());
        self.routings.insert(channel, unreadable);
        false
    }

    /// The client's limit, by the rule of the client.
    fn tune(&mut self, content: &[u8]) {
        let Some(limit) = content.get(6..10).and_then(|bytes| bytes.first_chunk::<4>()) else { return };
        let offered = usize::try_from(u32::from_be_bytes(*limit)).unwrap_or(usize::MAX);
        let limits = [self.asked, offered].into_iter().filter(|limit| *limit > 0);
        self.frame_max = limits.min().unwrap_or(HELD_MAX).clamp(FRAME_MIN, HELD_MAX);
    }

    /// Tells whether it goes on as it is.
    fn examine_header(&mut self, channel: u16, content: &[u8], whole: usize, out: &mut Vec<u8>) -> bool {
        let Some((before, properties)) = content.split_at_checked(BEFORE_PROPERTIES) else { return true };
        let routing = if self.routings.is_empty() { None } else { self.routings.remove(&channel) };
        if routing.is_none() && whole <= self.frame_max && properties::are_sound(properties) {
            return true;
        }
        let unreadable =
            UnreadableProperties { properties: properties.to_vec(), ..routing.unwrap_or_default() };
        self.set_aside(channel, before, &unreadable, out);
        false
    }

    /// A message with what can be read, and the bytes of the other before its body.
    fn set_aside(&self, channel: u16, before: &[u8], unreadable: &UnreadableProperties, out: &mut Vec<u8>) {
        let bytes = unreadable.to_bytes();
        let mark = format!("{}:{}", *WORD, bytes.len());
        let headers_max = self.frame_max - AROUND - BEFORE_PROPERTIES - TEXTS_MAX;
        let (class, length) = (&before[..4], &before[4..]);
        let length = length.iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
        let length = length.saturating_add(bytes.len() as u64);
        let readable = properties::readable(&unreadable.properties, (header::UNREADABLE, &mark), headers_max);
        frame(out, CONTENT_HEADER, channel, &[class, &length.to_be_bytes(), &readable].concat());
        for part in bytes.chunks(self.frame_max - AROUND) {
            frame(out, BODY, channel, part);
        }
    }
}

/// A method that begins a message, in its parts.
struct Routed<'a> {
    before: &'a [u8],
    exchange: &'a [u8],
    routing_key: &'a [u8],
    after: &'a [u8],
}

impl<'a> Routed<'a> {
    fn read(method: [u8; 4], content: &'a [u8]) -> Option<Self> {
        let mut left = Bytes(content);
        left.take(4)?;
        match method {
            // The consumer's tag, the delivery's, whether it was delivered before.
            DELIVER => {
                left.short()?;
                left.take(8 + 1)?;
            }
            GET_OK => {
                left.take(8 + 1)?;
            }
            // A code and why.
            RETURN => {
                left.take(2)?;
                left.short()?;
            }
            _ => return None,
        }
        let before = &content[..content.len() - left.0.len()];
        Some(Self { before, exchange: left.short()?, routing_key: left.short()?, after: left.0 })
    }

    fn content(&self) -> Vec<u8> {
        let short = |text: &[u8]| [&[text.len() as u8], text].concat();
        [self.before, &short(self.exchange), &short(self.routing_key), self.after].concat()
    }
}

/// What of a text can be read, in at most as many bytes as a short string has.
fn legible(bytes: &[u8]) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    text.truncate(text.floor_char_boundary(u8::MAX.into()));
    text.into_bytes()
}

fn frame(out: &mut Vec<u8>, kind: u8, channel: u16, content: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(content);
    out.push(END);
}

#[cfg(test)]
mod tests;
