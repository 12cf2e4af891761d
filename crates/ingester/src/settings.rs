//! What of the front door is configured: webhook secrets, tokens, and what the door allows.

use crate::door::{DoorLimits, Proxies, ProxyHeader};
use crate::intake::Secrets;
use crate::tokens::{Token, Tokens};
use domain::settings::{InvalidSetting, Masked, duration, duration_text};
use facts::rights;
use processors::SourcePattern;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

impl Secrets {
    /// Reads `[webhook_secrets]`: the secrets of each processor by its name.
    ///
    /// # Errors
    /// A name is no processor's.
    pub fn read(configured: &BTreeMap<String, Vec<Masked>>) -> Result<Self, InvalidSetting> {
        let mut secrets = Self::default();
        for (name, list) in configured {
            let known = || processors::ALL.map(|processor| processor.name).join(", ");
            let unknown = || format!("webhook_secrets: expected a processor of {}, got {name:?}", known());
            let processor = processors::find(name).ok_or_else(|| InvalidSetting::new(unknown()))?;
            secrets.0.insert(processor.name, list.iter().map(|secret| secret.0.clone()).collect());
        }
        Ok(secrets)
    }
}

/// One of `[[tokens]]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "one of [[tokens]]")]
pub struct TokenEntry {
    pub name: String,
    pub sha256: String,
    pub scopes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Vec<String>>,
    /// As a publisher's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<String>>,
}

impl TokenEntry {
    fn read(&self) -> Result<Token, InvalidSetting> {
        let at_tokens = |why: crate::InvalidToken| InvalidSetting::at("tokens")(why);
        let facts = self.facts.as_deref().map(rights::kinds).transpose()?;
        let scopes = self.scopes.iter().map(|scope| scope.parse()).collect::<Result<_, _>>();
        let token = Token::new(&self.name, &self.sha256, scopes.map_err(at_tokens)?, facts);
        let sources = self.sources.as_deref().map(SourcePattern::list).transpose();
        let sources = sources.map_err(InvalidSetting::at(format!("tokens {}: sources", self.name)))?;
        Ok(token.map_err(at_tokens)?.with_sources(sources.unwrap_or_default()))
    }
}

impl Tokens {
    /// Reads `[[tokens]]` and the list of `BURSAR_API_TOKENS`.
    ///
    /// # Errors
    /// One is written wrong, or would give a right that no token has.
    pub fn read(entries: &[TokenEntry], environment: &[Masked]) -> Result<Self, InvalidSetting> {
        let of_environment = |text: &Masked| {
            Token::parse(text.0.expose_secret()).map_err(InvalidSetting::at("BURSAR_API_TOKENS"))
        };
        let tokens = entries.iter().map(TokenEntry::read).chain(environment.iter().map(of_environment));
        Ok(Self(tokens.collect::<Result<_, _>>()?))
    }
}

const MEBIBYTE: usize = 1024 * 1024;

/// Above what one machine has; so that no sum of it can overflow.
const MEBIBYTES_MAX: usize = 4095;

/// `[http]`: what the front door allows.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, expecting = "the section [http]")]
pub struct DoorSettings {
    /// Open at once; fewer where the process may not open as many descriptors.
    pub connections: usize,
    /// From one address, or one /64 of IPv6.
    pub connections_per_address: usize,
    pub head_timeout: String,
    pub idle_timeout: String,
    pub body_timeout: String,
    /// Bytes a second.
    pub body_rate: u32,
    pub answer_timeout: String,
    /// For bodies that are on their way, in MiB.
    pub bodies_mib: usize,
    /// For genuine bodies until they are durable, in MiB.
    pub work_mib: usize,
    /// Unknown tokens from one address in a minute before it is told to wait.
    pub failed_tokens: u32,
    /// Proxies in front, by address or network, whose header is believed.
    pub proxies: Vec<String>,
    pub proxy_header: ProxyHeader,
}

impl Default for DoorSettings {
    fn default() -> Self {
        let limits = DoorLimits::default();
        Self {
            connections: limits.connections,
            connections_per_address: limits.connections_per_address,
            head_timeout: duration_text(limits.head_timeout),
            idle_timeout: duration_text(limits.idle_timeout),
            body_timeout: duration_text(limits.body_timeout),
            body_rate: limits.body_rate,
            answer_timeout: duration_text(limits.answer_timeout),
            bodies_mib: limits.bodies_bytes / MEBIBYTE,
            work_mib: limits.work_bytes / MEBIBYTE,
            failed_tokens: limits.failed_tokens,
            proxies: Vec::new(),
            proxy_header: ProxyHeader::default(),
        }
    }
}

impl DoorSettings {
    /// # Errors
    /// The first setting that is wrong.
    pub fn limits(&self) -> Result<DoorLimits, InvalidSetting> {
        self.check_counts()?;
        Ok(DoorLimits {
            connections: self.connections,
            connections_per_address: self.connections_per_address,
            head_timeout: time("head_timeout", &self.head_timeout)?,
            idle_timeout: time("idle_timeout", &self.idle_timeout)?,
            body_timeout: time("body_timeout", &self.body_timeout)?,
            body_rate: self.body_rate,
            answer_timeout: time("answer_timeout", &self.answer_timeout)?,
            bodies_bytes: self.bodies_mib * MEBIBYTE,
            work_bytes: self.work_mib * MEBIBYTE,
            failed_tokens: self.failed_tokens,
            proxies: Proxies::parse(&self.proxies, self.proxy_header)
                .map_err(InvalidSetting::at("http.proxies"))?,
        })
    }

    fn check_counts(&self) -> Result<(), InvalidSetting> {
        for (name, count) in [
            ("connections", self.connections),
            ("connections_per_address", self.connections_per_address),
            ("body_rate", self.body_rate as usize),
        ] {
            if count == 0 {
                return Err(InvalidSetting::new(format!("http.{name}: expected 1 or more, got 0")));
            }
        }
        for (name, mebibytes) in [("bodies_mib", self.bodies_mib), ("work_mib", self.work_mib)] {
            if !(1..=MEBIBYTES_MAX).contains(&mebibytes) {
                let why = format!("http.{name}: expected 1 to {MEBIBYTES_MAX}, got {mebibytes}");
                return Err(InvalidSetting::new(why));
            }
        }
        Ok(())
    }
}

fn time(name: &str, text: &str) -> Result<Duration, InvalidSetting> {
    let time = duration(text).map_err(InvalidSetting::at(format!("http.{name}")))?;
    match time.is_zero() {
        true => Err(InvalidSetting::new(format!("http.{name}: expected more than no time"))),
        false => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_settings_are_the_default_limits() {
        let settings = DoorSettings::default();
        assert_eq!(format!("{:?}", settings.limits().unwrap()), format!("{:?}", DoorLimits::default()));
        assert_eq!((settings.head_timeout.as_str(), settings.idle_timeout.as_str()), ("10s", "1m 15s"));
    }

    #[test]
    fn a_limit_that_is_wrong_is_named_by_its_key() {
        let check = |settings: DoorSettings, expect: &str| {
            let why = settings.limits().unwrap_err().to_string();
            assert!(why.starts_with(expect), "{why}");
        };
        let default = DoorSettings::default;
        check(DoorSettings { connections: 0, ..default() }, "http.connections: expected 1 or more, got 0");
        check(DoorSettings { work_mib: 4096, ..default() }, "http.work_mib: expected 1 to 4095, got 4096");
        check(
            DoorSettings { idle_timeout: "0s".to_owned(), ..default() },
            "http.idle_timeout: expected more than no time",
        );
        check(
            DoorSettings { proxies: vec!["proxy".to_owned()], ..default() },
            "http.proxies: expected an address",
        );
    }
}
