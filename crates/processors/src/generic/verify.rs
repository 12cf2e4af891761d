//! Standard Webhooks: `webhook-id`, `webhook-timestamp`, and in `webhook-signature` a list of
//! `v1,<base64 HMAC-SHA256(key, id + "." + timestamp + "." + body)>` separated by spaces:
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.
//!
//! The key is the base64 text after `whsec_`. A secret without that prefix is taken both as base64, like the reference
//! libraries do, and as the bytes it is written with, like everybody expects of a password; to sign, the first of these
//! that can be read is used.

use crate::refused::Refused;
use crate::signature::{
    Digest, any_matches, check_window, hmac_sha256, malformed, read_header, read_timestamp, usable,
    usable_one,
};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

pub const ID: &str = "webhook-id";
pub const TIMESTAMP: &str = "webhook-timestamp";
pub const SIGNATURE: &str = "webhook-signature";

const FORM: &str = "v1,<base64>";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// See [`Processor::check_headers`](crate::Processor::check_headers).
///
/// # Errors
/// Whatever [`verify`] would refuse without the body.
pub fn check_headers(
    headers: &dyn Fn(&str) -> Option<String>,
    secrets: &[SecretString],
    received_at: OffsetDateTime,
) -> Result<(), Refused> {
    usable(secrets)?;
    SignatureHead::read(headers, received_at).map(|_| ())
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
    let keys: Vec<Vec<u8>> = usable(secrets)?.into_iter().flat_map(keys).collect();
    let SignatureHead { id, timestamp, signatures } = SignatureHead::read(headers, received_at)?;
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
    if any_matches(&keys, &signed, &signatures) { Ok(()) } else { Err(Refused::Mismatch) }
}

/// The three headers, in order and in time, with at least one signature that could match.
struct SignatureHead {
    id: String,
    timestamp: String,
    signatures: Vec<Digest>,
}

impl SignatureHead {
    fn read(headers: &dyn Fn(&str) -> Option<String>, received_at: OffsetDateTime) -> Result<Self, Refused> {
        let id = read_header(headers, ID)?;
        let timestamp = read_header(headers, TIMESTAMP)?;
        let signatures = parse_signatures(&read_header(headers, SIGNATURE)?)?;
        check_id(&id)?;
        check_window(read_timestamp(TIMESTAMP, &timestamp)?, received_at)?;
        if signatures.is_empty() {
            return Err(Refused::Mismatch);
        }
        Ok(Self { id, timestamp, signatures })
    }
}

/// The message's id is the event's, a batch's that of its first event, with a `_` for what an id may not contain. What has
/// none is named by its bytes: a sender may sign whatever it likes, and the front door says what it thinks of it.
///
/// # Errors
/// [`Refused::NoSecret`].
pub fn sign(
    secret: &SecretString,
    body: &[u8],
    at: OffsetDateTime,
) -> Result<Vec<(&'static str, String)>, Refused> {
    let key = keys(usable_one(secret)?).into_iter().next().ok_or(Refused::NoSecret)?;
    let by_bytes = || format!("body_{}", &hex::encode(Sha256::digest(body))[..32]);
    let id = super::translate::first_event_id(body).unwrap_or_else(by_bytes);
    let id: String = id.chars().map(|c| if c.is_ascii() && is_id_byte(c as u8) { c } else { '_' }).collect();
    let timestamp = at.unix_timestamp().to_string();
    let signature = hmac_sha256(&key, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body]);
    Ok(vec![(ID, id), (TIMESTAMP, timestamp), (SIGNATURE, format!("v1,{}", BASE64.encode(signature)))])
}

/// One key, or two where the secret can be read in two ways; none of them empty.
fn keys(secret: &str) -> Vec<Vec<u8>> {
    let decode = |text: &str| BASE64.decode(text).ok().filter(|key| !key.is_empty());
    match secret.strip_prefix("whsec_") {
        Some(text) if BASE64.decode(text).is_ok() => decode(text).into_iter().collect(),
        // Not what the prefix promises: then it can only be meant as it is written.
        Some(_) => vec![secret.as_bytes().to_vec()],
        None => decode(secret).into_iter().chain([secret.as_bytes().to_vec()]).collect(),
    }
}

fn check_id(id: &str) -> Result<(), Refused> {
    if id.is_empty() || !id.bytes().all(is_id_byte) {
        return Err(malformed(ID, "visible ASCII characters without a point", "something else"));
    }
    Ok(())
}

/// A point in the id would let one signature stand for two messages.
fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'.'
}

fn parse_signatures(text: &str) -> Result<Vec<Digest>, Refused> {
    let mut signatures =
        text.split_ascii_whitespace().filter_map(|entry| entry.strip_prefix("v1,")).peekable();
    if signatures.peek().is_none() {
        return Err(malformed(SIGNATURE, FORM, "no signature of that scheme"));
    }
    Ok(signatures.filter_map(|text| BASE64.decode(text).ok()?.try_into().ok()).collect())
}
