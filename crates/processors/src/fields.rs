//! Reading a processor's JSON field by field, each knowing its path: what is missing or garbled can be named, without
//! ever quoting a value, since any of them may be about a person.
//!
//! Few fields are read, anything else may be there or not, in any shape: processors change their payloads between
//! versions of their interfaces and send what their own libraries refuse.

use crate::delivery::SetAside;
use domain::fact::UnrecognisedWhy;
use domain::money::{Currency, InvalidAmount, currency};
use domain::{CustomerId, PaymentId};
use serde_json::Value;
use std::fmt;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// The deepest field that any translation reads.
const DEPTH_MAX: usize = 8;

/// One place in the JSON. A member of what is not an object, or of what is absent, is absent; so is `null`.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    path: Path,
    value: &'a Value,
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

impl<'a> Field<'a> {
    pub fn root(name: &'static str, value: &'a Value) -> Self {
        Self { path: Path { names: [""; DEPTH_MAX], depth: 0 }.then(name), value }
    }

    pub fn get(self, name: &'static str) -> Field<'a> {
        Self { path: self.path.then(name), value: self.value.get(name).unwrap_or(&Value::Null) }
    }

    pub fn is_absent(self) -> bool {
        self.value.is_null()
    }

    /// What is in the list; nothing where the list is absent.
    pub fn elements(self) -> Result<impl Iterator<Item = Field<'a>>, SetAside> {
        let elements = match self.value {
            Value::Null => &[][..],
            Value::Array(elements) => elements,
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                return Err(self.malformed("a list"));
            }
        };
        Ok(elements.iter().map(move |value| Field { path: self.path.then("[]"), value }))
    }

    pub fn text(self) -> Option<&'a str> {
        self.value.as_str()
    }

    pub fn boolean(self) -> Option<bool> {
        self.value.as_bool()
    }

    pub fn integer(self) -> Option<i64> {
        self.value.as_i64()
    }

    /// The member under the platform's own key, as an account's id: a text, or a whole number.
    pub fn account_text(self, key: &str) -> Option<String> {
        match self.value.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The member under the platform's own key, where it is a text without surprises.
    pub fn printable(self, key: &str) -> Option<&'a str> {
        self.value.get(key)?.as_str().filter(|text| is_printable(text))
    }

    /// One word of a list that the processor may extend. The text may be shown: it is no free text.
    pub fn word(self) -> Option<&'a str> {
        self.text().filter(|text| {
            (1..=64).contains(&text.len())
                && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        })
    }

    pub fn required_text(self, expected: &str) -> Result<&'a str, SetAside> {
        self.text().ok_or_else(|| self.malformed(expected))
    }

    /// An id of the processor's.
    pub fn id(self) -> Result<&'a str, SetAside> {
        self.text().filter(|text| is_printable(text)).ok_or_else(|| self.malformed("an id"))
    }

    /// An object's id, or the object itself with its id inside: Stripe sends either
    /// (<https://docs.stripe.com/api/expanding_objects>).
    pub fn expandable_id(self) -> Result<Option<&'a str>, SetAside> {
        match self.value {
            Value::Null => Ok(None),
            Value::Object(_) => self.get("id").id().map(Some),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => self.id().map(Some),
        }
    }

    pub fn payment_id(self, processor: &str) -> Result<PaymentId, SetAside> {
        PaymentId::new(processor, self.id()?).map_err(|_| self.malformed("an id that is short enough"))
    }

    pub fn customer_id(self, processor: &str) -> Result<CustomerId, SetAside> {
        CustomerId::new(processor, self.id()?).map_err(|_| self.malformed("an id that is short enough"))
    }

    pub fn currency(self) -> Result<Currency, SetAside> {
        self.text()
            .and_then(|code| currency(code).ok())
            .ok_or_else(|| self.malformed("an ISO 4217 currency code"))
    }

    /// Minor units as Paddle writes them, a text of digits. A point would mean main units: never guessed.
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
    pub fn minor_units_number(self) -> Result<i128, SetAside> {
        let number = self.value.as_i64().map(i128::from).or(self.value.as_u64().map(i128::from));
        number.ok_or_else(|| self.malformed("minor units as a whole number"))
    }

    pub fn malformed(self, expected: &str) -> SetAside {
        SetAside::malformed(format!("{}: expected {expected}, got {}", self.path, self.kind()))
    }

    pub fn unfit_amount(self, error: &InvalidAmount) -> SetAside {
        SetAside::malformed(format!("{}: {error}", self.path))
    }

    /// A word that the processor has added since, or one that does not belong here.
    pub fn unknown(self, expected: &str) -> SetAside {
        let got = self.word().unwrap_or("something else");
        let detail = format!("{}: expected {expected}, got {got}", self.path);
        SetAside { why: UnrecognisedWhy::Value, detail: Some(detail) }
    }

    pub fn no_effect(self) -> SetAside {
        let got = self.word().unwrap_or("something else");
        SetAside::no_effect(&format!("{} is {got}", self.path))
    }

    fn kind(self) -> &'static str {
        match self.value {
            Value::Null => "none",
            Value::Bool(_) => "an unfit boolean",
            Value::Number(_) => "an unfit number",
            Value::String(_) => "an unfit text",
            Value::Array(_) => "an unfit list",
            Value::Object(_) => "an unfit object",
        }
    }
}

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
