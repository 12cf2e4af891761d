//! What a processor's folder provides.

use crate::refused::{Malformed, Refused};
use crate::settings::Settings;
use domain::Envelope;
use secrecy::SecretString;
use time::OffsetDateTime;

/// What Bursar can do with one processor's deliveries.
pub struct Processor {
    /// As it stands in routes, ids and routing keys.
    pub name: &'static str,
    /// The headers that [`verify`](Self::verify) reads, in lower case: a gateway has to pass on these.
    pub signature_headers: &'static [&'static str],
    /// What of [`verify`](Self::verify) can be told before the body is there: form and time of the headers, and whether there
    /// is a secret at all. Whatever it refuses, `verify` refuses for the same reason, so that no body is read for nothing.
    pub check_headers: CheckHeaders,
    /// Whether one of the secrets signed these very bytes, no longer than [`TOLERANCE`](crate::TOLERANCE) before or after they
    /// arrived. The time to give is that of the first arrival, not of the check: a queue may lie in between.
    pub verify: Verify,
    /// The headers that the processor would send with this body at this time.
    pub sign: Sign,
    /// The facts of a verified body, the primary one first: it has the event's own id and carries the body along.
    pub translate: Translate,
}

pub type CheckHeaders = fn(
    headers: &dyn Fn(&str) -> Option<String>,
    secrets: &[SecretString],
    received_at: OffsetDateTime,
) -> Result<(), Refused>;

pub type Verify = fn(
    headers: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
    secrets: &[SecretString],
    received_at: OffsetDateTime,
) -> Result<(), Refused>;

pub type Sign = fn(
    secret: &SecretString,
    body: &[u8],
    at: OffsetDateTime,
) -> Result<Vec<(&'static str, String)>, Refused>;

pub type Translate =
    fn(settings: &Settings, body: &[u8], received_at: OffsetDateTime) -> Result<Vec<Envelope>, Malformed>;
