//! Calls of a processor's API, as pure functions: what is asked, and what the answer says. Who sends it is elsewhere.
//!
//! Each endpoint is a pair: a function that makes a [`Request`], and one that reads status, headers and body into an
//! [`ApiAnswer`]. An answer never says more than is known: whether a call that failed is known to have failed decides whether
//! money may be sent a second time.

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

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiAnswer<T> {
    /// It was done, or it is there.
    Is(T),
    /// There is no such object, for sure.
    Absent,
    /// It was refused and nothing came of it; the same call would be refused again until something else changes.
    Refused(ApiRefusal),
    /// It was refused before anything was done, for a reason that passes: limits, a lock.
    NotNow(ApiRefusal),
    /// It may have been done.
    Unclear(ApiRefusal),
}

/// Why, in the processor's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiRefusal {
    pub status: u16,
    /// Machine-readable; empty where the processor names none.
    pub code: String,
    /// Of the field that is at fault.
    pub field: Option<String>,
    /// For people; it may quote what was asked.
    pub message: String,
}
