//! `Paddle-Signature: ts=<unix>;h1=<hex>[;h1=<hex>...]`, `h1 = hex(HMAC-SHA256(secret, ts + ":" + body))`, the secret
//! as it is written: <https://developer.paddle.com/webhooks/about/signature-verification>.
//!
//! Paddle's libraries differ where a header carries several signatures or a scheme they do not know; here each `h1` is
//! tried and the rest skipped, which is what their tests together ask for.

use crate::refused::Refused;
use crate::signature::TimestampedHex;
use secrecy::SecretString;
use time::OffsetDateTime;

pub const SCHEME: TimestampedHex = TimestampedHex {
    header: "paddle-signature",
    form: "ts=<unix seconds>;h1=<hex>",
    separator: ';',
    timestamp: "ts",
    signature: "h1",
    joint: ":",
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
