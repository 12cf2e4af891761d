//! Reading a processor's JSON field by field, each knowing its path: what is missing or garbled can be named, without
//! ever quoting a value, since any of them may be about a person.
//!
//! Few fields are read, anything else may be there or not, in any shape: processors change their payloads between
//! versions of their interfaces and send what their own libraries refuse. A field that is read and given twice is
//! garbled; a field that is not read may be given any number of times.

use crate::json::{Document, Kind, MemberLookup, Value};
use crate::set_aside::SetAside;
use domain::fact::UnrecognisedWhy;
use domain::money::{Currency, InvalidAmount, currency};
use domain::{CustomerId, Money, PaymentId};
use rust_decimal::Decimal;
use std::borrow::Cow;
use std::fmt;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// The deepest field that any translation reads.
const DEPTH_MAX: usize = 8;

/// How a field under a key of the configuration is named, whatever the key.
const CONFIGURED: &str = "<configured key>";

/// One place in the JSON. A member of what is not an object, or of what is absent, is absent; so is `null`. A member of
/// what is given twice is given twice.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    path: Path,
    place: MemberLookup<'a>,
}

#[derive(Clone, Copy)]
struct Path {
    names: [&'static str; DEPTH_MAX],
    depth: usize,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names[..self.depth].join("."))
    }
}

impl Path {
    fn then(mut self, name: &'static str) -> Self {
        if let Some(place) = self.names.get_mut(self.depth) {
            *place = name;
            self.depth += 1;
        }
        self
    }
}

/// Its path.
impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

impl<'a> Field<'a> {
    /// The document itself.
    pub fn root(document: &'a Document<'a>) -> Self {
        Self { path: Path { names: [""; DEPTH_MAX], depth: 0 }, place: MemberLookup::One(document.root()) }
    }

    /// A member of it.
    pub fn get(self, name: &'static str) -> Field<'a> {
        Self { path: self.path.then(name), place: self.member(name) }
    }

    /// The member under a key that the platform chose.
    pub fn under(self, key: &str) -> Field<'a> {
        Self { path: self.path.then(CONFIGURED), place: self.member(key) }
    }

    fn member(self, name: &str) -> MemberLookup<'a> {
        match self.place {
            MemberLookup::One(value) => value.member(name),
            MemberLookup::Absent => MemberLookup::Absent,
            MemberLookup::Twice => MemberLookup::Twice,
        }
    }

    fn value(self) -> Option<Value<'a>> {
        match self.place {
            MemberLookup::One(value) => Some(value),
            MemberLookup::Absent | MemberLookup::Twice => None,
        }
    }

    /// Whether it is missing or null.
    pub fn is_absent(self) -> bool {
        match self.place {
            MemberLookup::Absent => true,
            MemberLookup::One(value) => value.kind() == Kind::Null,
            MemberLookup::Twice => false,
        }
    }

    pub fn is_twice(self) -> bool {
        matches!(self.place, MemberLookup::Twice)
    }

    /// An object in which anything stands.
    pub fn is_filled_object(self) -> bool {
        self.value().is_some_and(|value| value.kind() == Kind::Object && !value.is_empty())
    }

    /// What is in the list; nothing if the list is absent.
    ///
    /// # Errors
    /// It is there, and no list.
    pub fn elements(self) -> Result<impl Iterator<Item = Field<'a>>, SetAside> {
        let elements = self.value().and_then(Value::elements);
        if elements.is_none() && !self.is_absent() {
            return Err(self.malformed("a list"));
        }
        let path = self.path.then("[]");
        Ok(elements.into_iter().flatten().map(move |value| Field { path, place: MemberLookup::One(value) }))
    }

    pub fn text(self) -> Option<Cow<'a, str>> {
        self.value()?.text()
    }

    pub fn boolean(self) -> Option<bool> {
        self.value()?.boolean()
    }

    pub fn integer(self) -> Option<i64> {
        self.value()?.number()
    }

    /// An account's id, as a platform writes it: a text, or a whole number.
    pub fn account_text(self) -> Option<String> {
        let number = || self.value()?.number::<i128>().map(|number| number.to_string());
        self.text().map(Cow::into_owned).or_else(number)
    }

    /// A text without surprises.
    pub fn printable(self) -> Option<String> {
        self.text().map(Cow::into_owned).filter(|text| is_printable(text))
    }

    /// One word of a list that the processor may extend. The text may be shown: it is no free text.
    pub fn word(self) -> Option<String> {
        self.text().map(Cow::into_owned).filter(|text| {
            (1..=64).contains(&text.len())
                && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        })
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// It is missing, or no text.
    pub fn required_text(self, expected: &str) -> Result<Cow<'a, str>, SetAside> {
        self.text().ok_or_else(|| self.malformed(expected))
    }

    /// A text that may be missing.
    ///
    /// # Errors
    /// It is there, and no text.
    pub fn optional_text(self, expected: &str) -> Result<Option<Cow<'a, str>>, SetAside> {
        if self.is_absent() { Ok(None) } else { self.required_text(expected).map(Some) }
    }

    /// An id of the processor's.
    ///
    /// # Errors
    /// It is missing, or no id.
    pub fn id(self) -> Result<String, SetAside> {
        self.printable().ok_or_else(|| self.malformed("an id"))
    }

    /// An id that may be missing.
    ///
    /// # Errors
    /// It is there, and no id.
    pub fn optional_id(self) -> Result<Option<String>, SetAside> {
        if self.is_absent() { Ok(None) } else { self.id().map(Some) }
    }

    /// An object's id, or the object itself with its id inside: Stripe sends either
    /// (<https://docs.stripe.com/api/expanding_objects>).
    ///
    /// # Errors
    /// It is there, and neither an id nor an object that has one.
    pub fn expandable_id(self) -> Result<Option<String>, SetAside> {
        match self.value().map(Value::kind) {
            Some(Kind::Object) => self.get("id").id().map(Some),
            _ => self.optional_id(),
        }
    }

    /// The id of one of this processor's payments.
    ///
    /// # Errors
    /// It is missing, or no id.
    pub fn payment_id(self, processor: &str) -> Result<PaymentId, SetAside> {
        PaymentId::new(processor, &self.id()?).map_err(|_| self.malformed("an id that is short enough"))
    }

    /// The id of one of this processor's customers.
    ///
    /// # Errors
    /// It is missing, or no id.
    pub fn customer_id(self, processor: &str) -> Result<CustomerId, SetAside> {
        CustomerId::new(processor, &self.id()?).map_err(|_| self.malformed("an id that is short enough"))
    }

    /// A currency by its code.
    ///
    /// # Errors
    /// It is missing, or no currency has this code.
    pub fn currency(self) -> Result<Currency, SetAside> {
        self.text()
            .and_then(|code| currency(&code).ok())
            .ok_or_else(|| self.malformed("an ISO 4217 currency code"))
    }

    /// Minor units as Paddle writes them, a text of digits. A point would mean main units: never guessed.
    ///
    /// # Errors
    /// It is missing, or no integer.
    pub fn minor_units_text(self) -> Result<i128, SetAside> {
        self.text()
            .filter(|text| {
                let digits = text.strip_prefix('-').unwrap_or(text);
                !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
            })
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| self.malformed("minor units as a text of digits"))
    }

    /// Minor units as Stripe writes them, a JSON integer.
    ///
    /// # Errors
    /// It is missing, or no integer.
    pub fn minor_units_number(self) -> Result<i128, SetAside> {
        let number = self.value().and_then(Value::number);
        number.ok_or_else(|| self.malformed("minor units as a whole number"))
    }

    /// Minor units of a currency with so many places.
    ///
    /// # Errors
    /// It is less than zero, or too large.
    pub fn money(self, minor_units: i128, places: u32, currency: Currency) -> Result<Money, SetAside> {
        let money = Money::from_minor(minor_units, places, currency);
        money.map_err(|error: InvalidAmount| SetAside::malformed(format!("{}: {error}", self.path)))
    }

    /// A part of a whole, a text such as `0.5`: from 0 to 1.
    ///
    /// # Errors
    /// It is missing, or no number from 0 to 1.
    pub fn share(self) -> Result<Decimal, SetAside> {
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        self.text()
            .filter(|text| text.len() <= SHARE_LENGTH_MAX && is_plain(text))
            .and_then(|text| text.parse::<Decimal>().ok())
            .filter(|share| *share <= Decimal::ONE)
            .map(|share| share.normalize())
            .ok_or_else(|| self.malformed("a part from 0 to 1 as a text"))
    }

    pub fn malformed(self, expected: &str) -> SetAside {
        SetAside::malformed(format!("{}: expected {expected}, got {}", self.path, self.kind()))
    }

    /// A word that the processor has added since, or one that does not belong here.
    pub fn unknown(self, expected: &str) -> SetAside {
        let got = self.word();
        let got = got.as_deref().unwrap_or("something else");
        let detail = format!("{}: expected {expected}, got {got}", self.path);
        SetAside { why: UnrecognisedWhy::Value, detail: Some(detail) }
    }

    pub fn no_effect(self) -> SetAside {
        let got = self.word();
        let got = got.as_deref().unwrap_or("something else");
        SetAside::no_effect(&format!("{} is {got}", self.path))
    }

    fn kind(self) -> &'static str {
        let value = match self.place {
            MemberLookup::Absent => return "none",
            MemberLookup::Twice => return "it twice",
            MemberLookup::One(value) => value,
        };
        match value.kind() {
            Kind::Null => "none",
            Kind::Boolean => "an unfit boolean",
            Kind::Number => "an unfit number",
            Kind::Text => "an unfit text",
            Kind::List => "an unfit list",
            Kind::Object => "an unfit object",
            Kind::Other => "no JSON",
        }
    }
}

/// Paddle writes five places; whatever is longer than this is no rate.
const SHARE_LENGTH_MAX: usize = 40;

/// Good for ids, keys and log fields.
fn is_printable(text: &str) -> bool {
    (1..=200).contains(&text.len()) && !text.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// A time with no, one or up to nine digits of a second's fraction. Times before 1970 are placeholders: Paddle's
/// interface has answered with the year 1.
pub fn read_rfc3339(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC).filter(is_plausible)
}

pub fn read_unix_seconds(seconds: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(seconds).ok().filter(is_plausible)
}

fn is_plausible(at: &OffsetDateTime) -> bool {
    (1970..=9999).contains(&at.year())
}
