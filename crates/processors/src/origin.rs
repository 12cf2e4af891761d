//! Addresses and devices of those who bought and used something: digested where they come in, and kept nowhere.
//!
//! A platform may send a digest or the raw value. A raw one is replaced in the bytes as they came, before anything reads,
//! hashes, stores or quotes them; what cannot be digested is replaced by `[removed]`. So no raw value is in a fact, in what
//! is said of it, or in what is kept of a message that was refused. Without the key nobody can try addresses against a
//! digest; with it anybody can, for there are few: it is a secret of those processes that have a door.

mod members;

use crate::fields::Field;
use crate::settings::Settings;
use crate::signature::hmac_sha256;
use core::net::IpAddr;
use domain::Fact;
use domain::fact::{DIGEST_FORM, DIGEST_PREFIX, ERASED, REMOVED, is_digest, read_digest};
use domain::settings::{InvalidSetting, Masked};
use members::Member;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// `[privacy]`: what keeps people's addresses out of the ledger.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, expecting = "the section [privacy]")]
pub struct PrivacySettings {
    /// What addresses and devices are digested with. None: who states them sends digests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest_key: Option<Masked>,
}

/// As long as what HMAC-SHA256 gives: a shorter key would be the weaker part (RFC 2104, section 3).
const KEY_LENGTH_MIN: usize = 32;

impl PrivacySettings {
    /// # Errors
    /// A key that is too short.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        match self.digest_key.as_ref().map(|key| key_length(&key.0)) {
            Some(length) if length < KEY_LENGTH_MIN => Err(InvalidSetting::new(format!(
                "privacy.digest_key: expected at least {KEY_LENGTH_MIN} bytes, got {length}: `openssl rand -hex 32` makes one"
            ))),
            Some(_) | None => Ok(()),
        }
    }
}

/// Blanks around it make no key longer.
fn key_length(key: &SecretString) -> usize {
    key.expose_secret().trim().len()
}

/// The two values that tell where something came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Ip,
    Device,
}

/// Longer than ids and fingerprints of devices are.
const DEVICE_CHARACTERS_MAX: usize = 200;

impl Place {
    const ALL: [Place; 2] = [Place::Ip, Place::Device];

    /// As the fields of facts are called.
    fn name(self) -> &'static str {
        match self {
            Place::Ip => "ip",
            Place::Device => "device",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|place| name.eq_ignore_ascii_case(place.name()))
    }

    /// What is digested: of an address its one spelling, so that `::ffff:192.0.2.1` is `192.0.2.1`.
    fn normal(self, text: &str) -> Option<String> {
        match self {
            Place::Ip => text.parse::<IpAddr>().ok().map(|address| address.to_canonical().to_string()),
            Place::Device => {
                let is_printable = !text.trim().is_empty() && !text.chars().any(char::is_control);
                // A digest that is spelled wrong is no device.
                let is_device = is_printable && !text.starts_with(DIGEST_PREFIX);
                (is_device && text.chars().count() <= DEVICE_CHARACTERS_MAX).then(|| text.to_owned())
            }
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Place::Ip => "an IPv4 or IPv6 address",
            Place::Device => "1 to 200 printable characters",
        }
    }
}

/// What becomes of addresses and devices in this deployment.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    key: Option<SecretString>,
}

impl Origins {
    /// With the key of the configuration. One that is too short is none: [`PrivacySettings::check`] refuses it.
    pub fn new(privacy: &PrivacySettings) -> Self {
        let key = privacy.digest_key.as_ref().map(|key| key.0.clone());
        Self { key: key.filter(|key| key_length(key) >= KEY_LENGTH_MIN) }
    }

    /// The digest of an address; of a digest itself. Nothing where it is neither, or there is no key.
    pub fn ip(&self, text: &str) -> Option<String> {
        self.digest(Place::Ip, text)
    }

    /// The digest of a device's id or fingerprint; of a digest itself. Nothing where it is neither, or there is no key.
    pub fn device(&self, text: &str) -> Option<String> {
        self.digest(Place::Device, text)
    }

    fn digest(&self, place: Place, text: &str) -> Option<String> {
        read_digest(text).or_else(|| {
            let (key, normal) = (self.key.as_ref()?, place.normal(text)?);
            let parts = [place.name().as_bytes(), b"\0", normal.as_bytes()];
            let mac = hmac_sha256(key.expose_secret().as_bytes(), &parts);
            Some(format!("{}{}", DIGEST_PREFIX, hex::encode(mac)))
        })
    }

    /// The digests of the address and of the device that a purchase was made from, where the platform put them into what it hands to the
    /// processor, under the configured keys. What is neither, or cannot be digested, is left out: no purchase waits for it.
    ///
    /// Stripe's metadata is set with the secret key. Paddle's custom data can be set in the buyer's browser, so there they are no word of the
    /// platform's: a buyer may say that he is another, or always himself, and evidence made of it is only as good as that.
    pub(crate) fn of_purchase(settings: &Settings, data: Field<'_>) -> [Option<String>; 2] {
        let told = |key: &Option<String>| data.under(key.as_deref()?).text().map(Cow::into_owned);
        let (ip, device) = (told(&settings.metadata_ip_key), told(&settings.metadata_device_key));
        [
            ip.and_then(|text| settings.origins.ip(&text)),
            device.and_then(|text| settings.origins.device(&text)),
        ]
    }

    /// A message of a platform's with digests for the addresses and devices in it, whether it can be read or not. What cannot be
    /// digested is `[removed]`, which [`check`](Self::check) refuses; what was removed before, from a message that is told again, is
    /// nothing: it was refused then, and an operator has it told without.
    ///
    /// It finds members of JSON by their names, `ip` and `device` in any case and at any depth. What is no JSON and says it
    /// otherwise is not found.
    pub fn sealed<'a>(&self, message: &'a [u8]) -> Cow<'a, [u8]> {
        members::rewrite(message, |place, text| match text {
            Some(REMOVED) => Member::Null,
            Some(text) => self.digest(place, text).map_or(Member::Removed, Member::Digest),
            None => Member::Removed,
        })
    }

    /// A message of a platform's as it may be kept, by whoever cannot say what is in it: with its digests, and without anything else in their
    /// places.
    pub fn without_raw(message: &[u8]) -> Cow<'_, [u8]> {
        members::rewrite(message, |_, text| {
            text.and_then(read_digest).map_or(Member::Removed, Member::Digest)
        })
    }

    /// That nothing had to be removed of a fact when its message was [`sealed`](Self::sealed).
    ///
    /// # Errors
    /// What was expected, and what to do. The value is not quoted.
    pub fn check(&self, fact: &Fact) -> Result<(), String> {
        let removed = |(_, told): &(Place, Option<&str>)| *told == Some(REMOVED);
        let Some((place, _)) = Place::ALL.into_iter().zip(fact.origin()).find(removed) else {
            return Ok(());
        };
        let (name, expected) = (place.name(), place.expected());
        Err(match &self.key {
            Some(_) => format!(
                "data.{name}: expected {expected}, or a digest as {DIGEST_FORM}, got something else, which was removed"
            ),
            None => format!(
                "data.{name}: expected a digest as {DIGEST_FORM}, got another value, which was removed: this process has no key to \
                 digest it with. Configure privacy.digest_key (BURSAR_DIGEST_KEY), or send the digest"
            ),
        })
    }
}

/// What stands there already and holds no raw value.
fn stays(text: &str) -> bool {
    text == ERASED || is_digest(text)
}

#[cfg(test)]
mod tests;
