//! `Stripe-Signature: t=<unix>,v1=<hex>[,v1=<hex>...]`, `v1 = hex(HMAC-SHA256(secret, t + "." + body))`, the secret with
//! its `whsec_` as it is written: <https://docs.stripe.com/webhooks/signature>.
//!
//! `v0` is a scheme for tests that anybody can make: a header with nothing else is refused.

use crate::refused::Refused;
use crate::signature::TimestampedHex;
use secrecy::SecretString;
use time::OffsetDateTime;

pub const SCHEME: TimestampedHex = TimestampedHex {
    header: "stripe-signature",
    form: "t=<unix seconds>,v1=<hex>",
    separator: ',',
    timestamp: "t",
    signature: "v1",
    joint: ".",
};

/// See [`Processor::check_headers`](crate::Processor::check_headers).
///
/// # Errors
/// Whatever [`verify`] would refuse without the body.
pub fn check_headers(
    headers: &dyn Fn(&str) -> Option<String>,
    secrets: &[SecretString],
    received_at: OffsetDateTime,
) -> Result<(), Refused> {
    SCHEME.check_headers(headers, secrets, received_at)
}

/// See [`Processor::verify`](crate::Processor::verify).
///
/// # Errors
/// Why it is not taken for genuine: see [`Refused`].
pub fn verify(
    headers: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
    secrets: &[SecretString],
    received_at: OffsetDateTime,
) -> Result<(), Refused> {
    SCHEME.verify(headers, body, secrets, received_at)
}

/// See [`Processor::sign`](crate::Processor::sign).
///
/// # Errors
/// [`Refused::NoSecret`].
pub fn sign(
    secret: &SecretString,
    body: &[u8],
    at: OffsetDateTime,
) -> Result<Vec<(&'static str, String)>, Refused> {
    SCHEME.sign(secret, body, at)
}
