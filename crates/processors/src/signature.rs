//! What the processors' signatures have in common: HMAC-SHA256 over a time and the body, compared in constant time.
//!
//! Every secret is tried against every signature of the header, without stopping at the first match: both sides rotate.

use crate::refused::{Refused, TOLERANCE};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use time::OffsetDateTime;

/// Far above what a processor sends (some hundred bytes while a secret is rotated), far below what would cost time.
const HEADER_LENGTH_MAX: usize = 4096;

pub type Digest = [u8; 32];

pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Digest {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Whether any key gives any of the signatures, in time that does not depend on which.
pub fn any_matches(keys: &[impl AsRef<[u8]>], signed: &[&[u8]], signatures: &[Digest]) -> bool {
    let mut matches = Choice::from(0);
    for key in keys {
        let expected = hmac_sha256(key.as_ref(), signed);
        for signature in signatures {
            matches |= expected.ct_eq(signature);
        }
    }
    matches.into()
}

/// The configured secrets that are any: a blank one would let everybody sign.
///
/// # Errors
/// [`Refused::NoSecret`]: none is configured, or each is blank.
pub fn usable(secrets: &[SecretString]) -> Result<Vec<&str>, Refused> {
    let usable: Vec<&str> = secrets.iter().filter_map(|secret| usable_one(secret).ok()).collect();
    if usable.is_empty() { Err(Refused::NoSecret) } else { Ok(usable) }
}

/// A secret that is not blank.
///
/// # Errors
/// [`Refused::NoSecret`]: it is blank.
pub fn usable_one(secret: &SecretString) -> Result<&str, Refused> {
    Some(secret.expose_secret()).filter(|secret| !secret.trim().is_empty()).ok_or(Refused::NoSecret)
}

/// Reads a header that must be there.
///
/// # Errors
/// It is missing, or longer than a header may be.
pub fn read_header(
    headers: &dyn Fn(&str) -> Option<String>,
    header: &'static str,
) -> Result<String, Refused> {
    let text = headers(header).ok_or(Refused::MissingHeader { header })?;
    if text.len() > HEADER_LENGTH_MAX {
        return Err(malformed(header, "at most 4096 bytes", "more"));
    }
    Ok(text)
}

/// Unix seconds in plain digits.
///
/// # Errors
/// [`Refused::MalformedHeader`]: it is no time in unix seconds.
pub fn read_timestamp(header: &'static str, text: &str) -> Result<OffsetDateTime, Refused> {
    let wrong = || malformed(header, "a time in unix seconds", "something else");
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let seconds = text.parse().map_err(|_| wrong())?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| wrong())
}

/// Too old would be a replay; too new is one as well, prepared by an attacker who could set the sender's clock.
///
/// # Errors
/// [`Refused::Stale`].
pub fn check_window(signed_at: OffsetDateTime, received_at: OffsetDateTime) -> Result<(), Refused> {
    let age = received_at - signed_at;
    if age.abs() > TOLERANCE { Err(Refused::Stale { age_s: age.whole_seconds() }) } else { Ok(()) }
}

pub fn malformed(header: &'static str, expected: &'static str, got: &'static str) -> Refused {
    Refused::MalformedHeader { header, expected, got }
}

/// One header `<timestamp>=<unix seconds><separator><signature>=<hex>...`, where the signature is made over
/// `<unix seconds><joint><body>` with the secret's text as key: Paddle's and Stripe's schemes, told apart by constants.
pub struct TimestampedHex {
    pub header: &'static str,
    /// The header as its documentation writes it, for messages.
    pub form: &'static str,
    pub separator: char,
    pub timestamp: &'static str,
    pub signature: &'static str,
    pub joint: &'static str,
}

impl TimestampedHex {
    /// Form and time alone; the body may still be on its way.
    ///
    /// # Errors
    /// Whatever `verify` would refuse without the body.
    pub fn check_headers(
        &self,
        headers: &dyn Fn(&str) -> Option<String>,
        secrets: &[SecretString],
        received_at: OffsetDateTime,
    ) -> Result<(), Refused> {
        usable(secrets)?;
        let text = read_header(headers, self.header)?;
        self.read(&text, received_at).map(|_| ())
    }

    /// Whether one of the secrets signed this body at the time that the header tells.
    ///
    /// # Errors
    /// Why it is not taken for genuine: see [`Refused`].
    pub fn verify(
        &self,
        headers: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
        secrets: &[SecretString],
        received_at: OffsetDateTime,
    ) -> Result<(), Refused> {
        let secrets = usable(secrets)?;
        let text = read_header(headers, self.header)?;
        let (timestamp, signatures) = self.read(&text, received_at)?;
        let signed = [timestamp.as_bytes(), self.joint.as_bytes(), body];
        if any_matches(&secrets, &signed, &signatures) { Ok(()) } else { Err(Refused::Mismatch) }
    }

    /// The header's parts, where its time lies within the window and at least one signature could match.
    fn read<'a>(
        &self,
        text: &'a str,
        received_at: OffsetDateTime,
    ) -> Result<(&'a str, Vec<Digest>), Refused> {
        let (timestamp, signatures) = self.parse(text)?;
        check_window(read_timestamp(self.header, timestamp)?, received_at)?;
        if signatures.is_empty() { Err(Refused::Mismatch) } else { Ok((timestamp, signatures)) }
    }

    /// The time as it was written, since that text is what was signed, and the signatures that can be read. One that
    /// cannot be read stands beside good ones in the processors' own tests and is skipped; so are unknown schemes.
    fn parse<'a>(&self, text: &'a str) -> Result<(&'a str, Vec<Digest>), Refused> {
        let pairs = || text.split(self.separator).filter_map(|pair| pair.trim().split_once('='));
        let mut timestamps = pairs().filter(|(key, _)| *key == self.timestamp).map(|(_, value)| value);
        let timestamp = timestamps.next().ok_or(malformed(self.header, self.form, "no time"))?;
        if timestamps.next().is_some() {
            return Err(malformed(self.header, self.form, "several times"));
        }
        let mut signatures = pairs().filter(|(key, _)| *key == self.signature).peekable();
        if signatures.peek().is_none() {
            return Err(malformed(self.header, self.form, "no signature of that scheme"));
        }
        Ok((timestamp, signatures.filter_map(|(_, value)| read_hex(value)).collect()))
    }

    /// The header that the processor would send with this body.
    ///
    /// # Errors
    /// [`Refused::NoSecret`].
    pub fn sign(
        &self,
        secret: &SecretString,
        body: &[u8],
        at: OffsetDateTime,
    ) -> Result<Vec<(&'static str, String)>, Refused> {
        let key = usable_one(secret)?;
        let timestamp = at.unix_timestamp().to_string();
        let signature = hmac_sha256(key.as_bytes(), &[timestamp.as_bytes(), self.joint.as_bytes(), body]);
        let (separator, hex) = (self.separator, hex::encode(signature));
        Ok(vec![(self.header, format!("{}={timestamp}{separator}{}={hex}", self.timestamp, self.signature))])
    }
}

pub fn read_hex(text: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    hex::decode_to_slice(text, &mut digest).ok().map(|()| digest)
}
