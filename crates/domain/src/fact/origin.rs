//! Where a purchase or a usage came from: the address and the device, as keyed digests and never as they are.
//!
//! Equal digests stand for one address, or one device, and show that purchases were made from the same place; the address
//! cannot be told from them. No rule reads them, and they are no part of a payment's record: they are there for evidence,
//! and can be erased like a text.

use super::{ERASED, Fact};

/// What a digest begins with: how it was made.
pub const DIGEST_PREFIX: &str = "hmac-sha256:";

/// What a digest looks like, in words.
pub const DIGEST_FORM: &str = "hmac-sha256:<64 hexadecimal digits>";

/// Stands in a message that is kept, where an address or a device stood that may not be kept.
pub const REMOVED: &str = "[removed]";

/// A digest in its one spelling; nothing where the text is none.
pub fn read_digest(text: &str) -> Option<String> {
    let digits = text.strip_prefix(DIGEST_PREFIX)?;
    let is_digest = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| format!("{DIGEST_PREFIX}{}", digits.to_ascii_lowercase()))
}

/// Whether it is a digest in its one spelling.
pub fn is_digest(text: &str) -> bool {
    read_digest(text).is_some_and(|digest| digest == text)
}

/// A digest, or what is left of one that was erased. What came is not quoted: it may be an address.
pub(super) fn digest_if_any(field: &str, text: Option<&str>) -> Result<(), String> {
    match text {
        Some(text) if text != ERASED && !is_digest(text) => Err(format!(
            "{field}: expected a digest as {DIGEST_FORM} in lower case, got {} bytes of something else",
            text.len()
        )),
        Some(_) | None => Ok(()),
    }
}

/// Of two digests of one field the one that stays, whatever order they come in: a key that was rotated makes another digest of the
/// same address, so that they contradict nothing. What was erased stays so. `lesser` is before `greater` in the alphabet.
pub(super) fn outranking<'a>(lesser: &'a str, greater: &str) -> Option<&'a str> {
    let is_origin = |text: &str| text == ERASED || is_digest(text);
    (is_origin(lesser) && is_origin(greater)).then_some(lesser)
}

impl Fact {
    /// The fact told again, with where it came from as it was told at `first`. A description keeps what is only told now;
    /// what counts by itself is what was told first, or it would be another.
    #[must_use]
    pub fn with_origin_of(mut self, first: &Fact) -> Self {
        let keeps_own = self.kind().is_description();
        let own = |text: &&str| keeps_own && is_digest(text);
        let [ip, device] = first.origin();
        let [own_ip, own_device] = self.origin().map(|told| told.filter(own));
        let origin = [ip.or(own_ip), device.or(own_device)].map(|told| told.map(str::to_owned));
        self.set_origin(origin);
        self
    }
}
