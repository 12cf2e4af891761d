//! Calls of a processor's API, as pure functions: what is asked, and what the answer says. Who sends it is elsewhere.
//!
//! Each endpoint is a pair: a function that makes a [`Request`], and one that reads a [`RawAnswer`] into an [`ApiAnswer`]. An
//! answer never says more than is known: whether a call that failed is known to have failed decides whether money may be
//! sent a second time.

use sha2::{Digest, Sha256};
use std::fmt;

/// What is asked of a processor, without where it is and without the key that lets us in: those are settings of who sends it.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    /// With its query: `/v1/refunds?charge=ch_1`.
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// The same for one attempt, however often it is sent; in the header that the processor reads it from.
    pub idempotency_key: Option<(&'static str, String)>,
}

/// A body may hold what people wrote.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({} bytes)", self.method.as_str(), self.path, self.body.len())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Patch,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Patch => "PATCH",
        }
    }
}

/// Names one attempt of one decision, however often it is sent. At most 255 bytes, as Stripe takes them
/// (<https://docs.stripe.com/api/idempotent_requests>), and plain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    const BYTES_MAX: usize = 255;

    /// Of a name that no other attempt has: its kind, its decision's id, the attempt's number, as
    /// `dispute_submission/0199a7/1`. One that is too long or not plain is hashed: the same name makes the same key.
    pub fn of(attempt: &str) -> Self {
        let is_plain = !attempt.is_empty() && attempt.bytes().all(|byte| byte.is_ascii_graphic());
        match is_plain && attempt.len() <= Self::BYTES_MAX {
            true => Self(attempt.to_owned()),
            false => Self(hex::encode(Sha256::digest(attempt.as_bytes()))),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An answer as it came, whole.
#[derive(Clone, Copy)]
pub struct RawAnswer<'a> {
    pub status: u16,
    /// By their names in lower case.
    pub headers: &'a [(String, String)],
    pub body: &'a [u8],
}

impl<'a> RawAnswer<'a> {
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A body may hold what people wrote.
impl fmt::Debug for RawAnswer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {} ({} bytes)", self.status, self.body.len())
    }
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiAnswer<T> {
    /// It was done, or it is there.
    Is(T),
    /// There is no such object, for sure.
    Absent(ApiRefusal),
    /// It was refused and nothing came of it; the same call would be refused again until something else changes.
    Refused(ApiRefusal),
    /// Our key is not known, or may not do this: nothing came of it, and somebody must mend the configuration.
    NotPermitted(ApiRefusal),
    /// It was refused before anything was done, for a reason that passes: limits, a lock.
    NotNow(ApiRefusal),
    /// It may have been done.
    Unclear(ApiRefusal),
}

impl<T> ApiAnswer<T> {
    /// What it says where the same call was sent before, and how that went is not known: limits and keys are looked at before
    /// the processor looks whether it knows the call, so that a refusal by them says nothing of the first one.
    pub fn of_a_repeat(self) -> Self {
        match self {
            Self::NotNow(refusal) | Self::NotPermitted(refusal) => Self::Unclear(refusal),
            known @ (Self::Is(_) | Self::Absent(_) | Self::Refused(_) | Self::Unclear(_)) => known,
        }
    }
}

/// Why, in the processor's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiRefusal {
    pub status: u16,
    /// What sort of error; empty where the processor says none.
    pub kind: String,
    /// Machine-readable; empty where the processor names none.
    pub code: String,
    /// Of the field that is at fault.
    pub field: Option<String>,
    /// For people; it may quote what was asked.
    pub message: String,
    /// As the processor's support asks for it.
    pub request_id: Option<String>,
    /// Whether the processor says that sending the same again makes sense.
    pub may_repeat: Option<bool>,
    /// It is the answer to an earlier call with this key, kept and told again.
    pub is_replayed: bool,
}

impl fmt::Display for ApiRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.field.as_deref().unwrap_or_default();
        let parts = [&self.kind, &self.code, field, &self.message];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        write!(f, "status {}: {}", self.status, parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_attempt_and_fits() {
        let key = |name: &str| IdempotencyKey::of(name).as_str().to_owned();
        assert_eq!(key("dispute_submission/0199a7/1"), "dispute_submission/0199a7/1");
        assert_eq!(key(&"x".repeat(255)), "x".repeat(255));
        let hashed =
            ["x".repeat(256), "x".repeat(257), String::new(), "a\r\nb: c".to_owned(), "é".to_owned()]
                .map(|name| key(&name));
        for (number, each) in hashed.iter().enumerate() {
            assert_eq!(each.len(), 64);
            assert!(!hashed[..number].contains(each), "another name, another key");
        }
        assert_eq!(key(&"x".repeat(256)), key(&"x".repeat(256)));
    }

    #[test]
    fn limits_and_keys_say_nothing_of_the_call_before() {
        let refusal = ApiRefusal::default;
        let check = |first: ApiAnswer<()>, expect: ApiAnswer<()>| assert_eq!(first.of_a_repeat(), expect);
        check(ApiAnswer::Is(()), ApiAnswer::Is(()));
        check(ApiAnswer::Absent(refusal()), ApiAnswer::Absent(refusal()));
        check(ApiAnswer::Refused(refusal()), ApiAnswer::Refused(refusal()));
        check(ApiAnswer::Unclear(refusal()), ApiAnswer::Unclear(refusal()));
        check(ApiAnswer::NotNow(refusal()), ApiAnswer::Unclear(refusal()));
        check(ApiAnswer::NotPermitted(refusal()), ApiAnswer::Unclear(refusal()));
    }
}
