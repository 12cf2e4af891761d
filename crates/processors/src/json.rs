//! JSON as it came, found by path and read only where it is read.
//!
//! A body holds far more than is read, and some of it comes from strangers: Paddle's custom data is written in the
//! buyer's browser. Nothing that stands beside what is read may decide about a purchase. So nothing here judges a value
//! before somebody asks for it: numbers beyond any type, halves of characters, bytes that are no text, a thousand lists in
//! one another are passed over by where they end. Only where that cannot be told is there no document.
//!
//! One pass, no recursion, memory in proportion to the values near the root: whatever lies deeper than anything reads is
//! passed over without a trace.

use std::borrow::Cow;

/// Values that lie deeper are part of the one above them, and cannot be asked for.
const DEPTH_MAX: usize = 12;

/// Written by some editors and libraries in front of the text; it says nothing.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub struct Document<'a> {
    text: &'a [u8],
    /// In the order of the text: what a value contains stands right behind it.
    nodes: Vec<Node>,
}

struct Node {
    /// With its quotes; nothing in lists and for the outermost value.
    name: Option<Span>,
    value: Span,
    /// The first node behind this one that is not a part of it.
    next: usize,
}

#[derive(Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
}

/// The text ends or goes on where no value can.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub line: usize,
    pub column: usize,
}

/// One value, whatever it is.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    document: &'a Document<'a>,
    node: usize,
}

/// What stands under a name.
#[derive(Clone, Copy)]
pub enum MemberLookup<'a> {
    Absent,
    One(Value<'a>),
    /// Given more than once: which one is meant is unknown.
    Twice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Null,
    Boolean,
    Number,
    Text,
    List,
    Object,
    /// No value of JSON's, such as `NaN`.
    Other,
}

impl<'a> Document<'a> {
    /// Reads a text of JSON; of each value only when it is asked for.
    ///
    /// # Errors
    /// The line and column at which it is no JSON.
    pub fn parse(text: &'a [u8]) -> Result<Self, Unreadable> {
        let mut scan = Scan::of(text);
        scan.run().map_err(|at| unreadable(text, at))?;
        Ok(Self { text, nodes: scan.nodes })
    }

    pub fn root(&'a self) -> Value<'a> {
        Value { document: self, node: 0 }
    }

    fn slice(&self, span: Span) -> &[u8] {
        self.text.get(span.start..span.end).unwrap_or_default()
    }
}

fn unreadable(text: &[u8], at: usize) -> Unreadable {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |position| position + 1);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    Unreadable { line, column: before.len() - line_start + 1 }
}

impl<'a> Value<'a> {
    fn node(self) -> &'a Node {
        &self.document.nodes[self.node]
    }

    fn raw(self) -> &'a [u8] {
        self.document.slice(self.node().value)
    }

    pub fn kind(self) -> Kind {
        match self.raw() {
            b"null" => Kind::Null,
            b"true" | b"false" => Kind::Boolean,
            [b'"', ..] => Kind::Text,
            [b'[', ..] => Kind::List,
            [b'{', ..] => Kind::Object,
            [b'-' | b'0'..=b'9', ..] => Kind::Number,
            _ => Kind::Other,
        }
    }

    fn children(self) -> impl Iterator<Item = Value<'a>> {
        let end = self.node().next;
        let mut node = self.node + 1;
        std::iter::from_fn(move || {
            let child = Value { document: self.document, node };
            (node < end).then(|| {
                node = child.node().next;
                child
            })
        })
    }

    /// Absent from whatever is no object.
    pub fn member(self, name: &str) -> MemberLookup<'a> {
        if self.kind() != Kind::Object {
            return MemberLookup::Absent;
        }
        let mut named = self.children().filter(|child| child.is_named(name));
        match (named.next(), named.next()) {
            (None, _) => MemberLookup::Absent,
            (Some(value), None) => MemberLookup::One(value),
            (Some(_), Some(_)) => MemberLookup::Twice,
        }
    }

    fn is_named(self, name: &str) -> bool {
        let Some(span) = self.node().name else { return false };
        let raw = self.document.slice(span);
        let is_plain = raw.get(1..raw.len() - 1) == Some(name.as_bytes());
        is_plain || (raw.contains(&b'\\') && read_text(raw).is_some_and(|text| text == name))
    }

    /// `None` if it is no list.
    pub fn elements(self) -> Option<impl Iterator<Item = Value<'a>>> {
        (self.kind() == Kind::List).then(|| self.children())
    }

    /// Whether anything stands in the list or object.
    pub fn is_empty(self) -> bool {
        self.children().next().is_none()
    }

    /// `None` if it is no text, or one that cannot be spelled: half of a character, bytes that are no UTF-8.
    pub fn text(self) -> Option<Cow<'a, str>> {
        read_text(self.raw())
    }

    /// `None` if it is no number, or one that does not fit.
    pub fn number<T: serde::de::DeserializeOwned>(self) -> Option<T> {
        (self.kind() == Kind::Number).then(|| serde_json::from_slice(self.raw()).ok()).flatten()
    }

    pub fn boolean(self) -> Option<bool> {
        match self.raw() {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }
}

fn read_text(raw: &[u8]) -> Option<Cow<'_, str>> {
    let inside = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inside.iter().any(|byte| *byte == b'\\' || *byte < b' ') {
        return serde_json::from_slice(raw).ok().map(Cow::Owned);
    }
    std::str::from_utf8(inside).ok().map(Cow::Borrowed)
}

/// What may come next.
#[derive(Clone, Copy)]
enum Expected {
    Value,
    ValueOrEnd,
    Name,
    NameOrEnd,
    CommaOrEnd,
}

/// Walks over the text once. Errors are the place where it cannot go on.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    /// What closes each list and object that is open, the outermost first.
    open: Vec<u8>,
    /// The nodes of these, as far as they have one.
    parents: Vec<usize>,
    name: Option<Span>,
}

impl<'a> Scan<'a> {
    fn of(text: &'a [u8]) -> Self {
        let at = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        Self { text, at, nodes: Vec::new(), open: Vec::new(), parents: Vec::new(), name: None }
    }

    fn run(&mut self) -> Result<(), usize> {
        let mut next = Expected::Value;
        loop {
            next = self.step(next)?;
            if self.open.is_empty() {
                return if self.peek().is_none() { Ok(()) } else { Err(self.at) };
            }
        }
    }

    fn step(&mut self, next: Expected) -> Result<Expected, usize> {
        let byte = self.peek().ok_or(self.at)?;
        let is_end = self.open.last() == Some(&byte);
        match (next, byte) {
            (Expected::ValueOrEnd | Expected::NameOrEnd | Expected::CommaOrEnd, _) if is_end => {
                Ok(self.close())
            }
            (Expected::CommaOrEnd, b',') => {
                self.at += 1;
                Ok(if self.open.last() == Some(&b'}') { Expected::Name } else { Expected::Value })
            }
            (Expected::Name | Expected::NameOrEnd, b'"') => self.named(),
            (Expected::Value | Expected::ValueOrEnd, _) => self.value(byte),
            (Expected::CommaOrEnd | Expected::Name | Expected::NameOrEnd, _) => Err(self.at),
        }
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.get(self.at..)?;
        self.at += rest.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(rest.len());
        self.text.get(self.at).copied()
    }

    fn named(&mut self) -> Result<Expected, usize> {
        let start = self.at;
        self.pass_text()?;
        self.name = Some(Span { start, end: self.at });
        if self.peek() != Some(b':') {
            return Err(self.at);
        }
        self.at += 1;
        Ok(Expected::Value)
    }

    fn value(&mut self, byte: u8) -> Result<Expected, usize> {
        let node = self.begin();
        match byte {
            b'{' | b'[' => {
                self.at += 1;
                self.open.push(if byte == b'{' { b'}' } else { b']' });
                self.parents.extend(node);
                return Ok(if byte == b'{' { Expected::NameOrEnd } else { Expected::ValueOrEnd });
            }
            b'"' => self.pass_text()?,
            _ => self.pass_scalar()?,
        }
        self.end(node);
        Ok(Expected::CommaOrEnd)
    }

    /// Notes a value, unless it lies deeper than anything reads.
    fn begin(&mut self) -> Option<usize> {
        let name = self.name.take();
        (self.open.len() < DEPTH_MAX).then(|| {
            self.nodes.push(Node { name, value: Span { start: self.at, end: self.at }, next: 0 });
            self.nodes.len() - 1
        })
    }

    fn end(&mut self, node: Option<usize>) {
        let next = self.nodes.len();
        if let Some(node) = node.and_then(|node| self.nodes.get_mut(node)) {
            node.value.end = self.at;
            node.next = next;
        }
    }

    fn close(&mut self) -> Expected {
        self.at += 1;
        self.open.pop();
        let node = if self.open.len() < DEPTH_MAX { self.parents.pop() } else { None };
        self.end(node);
        Expected::CommaOrEnd
    }

    fn pass_text(&mut self) -> Result<(), usize> {
        self.at += 1;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).ok_or(self.text.len())?;
            self.at += found + 1;
            if rest[found] == b'"' {
                return Ok(());
            }
            // Whatever is escaped ends no text.
            self.at += 1;
        }
    }

    fn pass_scalar(&mut self) -> Result<(), usize> {
        let is_end = |byte: &u8| byte.is_ascii_whitespace() || b",:\"[]{}".contains(byte);
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(is_end).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.at);
        }
        self.at += length;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], path: &[&str], expect: Option<&str>) {
        let document = Document::parse(text).unwrap();
        let mut value = document.root();
        for name in path {
            match value.member(name) {
                MemberLookup::One(found) => value = found,
                MemberLookup::Absent | MemberLookup::Twice => {
                    assert_eq!(None, expect, "{path:?}");
                    return;
                }
            }
        }
        assert_eq!(value.text().as_deref(), expect, "{path:?} in {}", String::from_utf8_lossy(text));
    }

    #[test]
    fn a_value_is_found_whatever_stands_beside_it() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let beside: [&[u8]; 12] = [
            b"1e400",
            b"-99999999999999999999999999999999999999999999999",
            br#""\ud800""#,
            b"\"\xff\xfe\"",
            b"\"\n\"",
            br#""\q \" \\""#,
            br#"{"$serde_json::private::RawValue":1,"$serde_json::private::Number":"x"}"#,
            br#"{"a":1,"a":2,"":{"x":"no"},"\ud800":3}"#,
            b"NaN",
            b"[[],{},[[{}]]]",
            b"tru",
            deep.as_bytes(),
        ];
        for junk in beside {
            let text =
                [b"{\"b\":", junk, b",\"a\":{\"j\":", junk, b",\"x\":\"yes\"},\"c\":", junk, b"}"].concat();
            check(&text, &["a", "x"], Some("yes"));
        }
        check(b"\xef\xbb\xbf {\"a\":\"yes\"}\r\n", &["a"], Some("yes"));
    }

    #[test]
    fn a_name_is_what_it_spells_and_counts_once() {
        check(br#"{"\u0061":"yes"}"#, &["a"], Some("yes"));
        check(br#"{"a":"one","\u0061":"two"}"#, &["a"], None);
        check(br#"{"a":{"x":"one"},"b":2,"a":{"x":"two"}}"#, &["a", "x"], None);
        check(br#"{"aa":"no","":"no"}"#, &["a"], None);
        check(br#"["a"]"#, &["a"], None);
        check("{\"a\":\"é\\u00e9\\ud83d\\ude00\"}".as_bytes(), &["a"], Some("éé😀"));
        check(br#"{"a":"\ud800"}"#, &["a"], None);
        check(b"{\"a\":\"\xff\"}", &["a"], None);
    }

    #[test]
    fn what_lies_deeper_than_anything_reads_cannot_be_asked_for() {
        let nested = |depth: usize| format!("{}\"yes\"{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        check(nested(DEPTH_MAX - 1).as_bytes(), &["a"; DEPTH_MAX - 1], Some("yes"));
        check(nested(DEPTH_MAX).as_bytes(), &["a"; DEPTH_MAX], None);
        let beside = format!("{{\"a\":{},\"b\":\"yes\"}}", nested(1000));
        check(beside.as_bytes(), &["b"], Some("yes"));
    }

    #[test]
    fn where_nobody_can_tell_what_ends_there_is_no_document() {
        for text in [
            "",
            " ",
            "{",
            "[",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":}",
            "{\"a\":1",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "{a:1}",
            "[1 2]",
            "[1,]",
            "{\"a\":1]",
            "[1}",
            "\"a",
            "\"a\\\"",
            "\"a\\",
            "{}{}",
            "1 2",
            "]",
            "{,}",
            "[:]",
        ] {
            assert!(Document::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(Document::parse(b"{\n  \"a\": ]").err(), Some(Unreadable { line: 2, column: 8 }));
    }

    #[test]
    fn elements_come_in_their_order_and_numbers_where_they_fit() {
        let document = Document::parse(b"[1, -2 ,[3,4],9223372036854775808,1e2,\"5\", 07]").unwrap();
        let elements = document.root().elements().unwrap();
        let numbers: Vec<Option<i64>> = elements.map(Value::number).collect();
        assert_eq!(numbers, [Some(1), Some(-2), None, None, None, None, None]);
        assert!(Document::parse(b"{}").unwrap().root().elements().is_none());
        assert!(Document::parse(b"{}").unwrap().root().is_empty());
    }
}
