//! `[http]`: what the front door allows.

use super::duration;
use anyhow::{Context, Result, anyhow, bail};
use ingester::{DoorLimits, Proxies, ProxyHeader};
use serde::{Deserialize, Serialize};

const MEBIBYTE: usize = 1024 * 1024;

/// Above what one machine has; so that no sum of it can overflow.
const MEBIBYTES_MAX: usize = 4095;

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
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

impl Default for HttpConfig {
    fn default() -> Self {
        let limits = DoorLimits::default();
        let text = |duration| humantime::format_duration(duration).to_string();
        Self {
            connections: limits.connections,
            connections_per_address: limits.connections_per_address,
            head_timeout: text(limits.head_timeout),
            idle_timeout: text(limits.idle_timeout),
            body_timeout: text(limits.body_timeout),
            body_rate: limits.body_rate,
            answer_timeout: text(limits.answer_timeout),
            bodies_mib: limits.bodies_bytes / MEBIBYTE,
            work_mib: limits.work_bytes / MEBIBYTE,
            failed_tokens: limits.failed_tokens,
            proxies: Vec::new(),
            proxy_header: ProxyHeader::default(),
        }
    }
}

impl HttpConfig {
    pub fn limits(&self) -> Result<DoorLimits> {
        for (name, count) in [
            ("connections", self.connections),
            ("connections_per_address", self.connections_per_address),
            ("body_rate", self.body_rate as usize),
        ] {
            if count == 0 {
                bail!("http.{name}: expected 1 or more, got 0");
            }
        }
        for (name, mebibytes) in [("bodies_mib", self.bodies_mib), ("work_mib", self.work_mib)] {
            if !(1..=MEBIBYTES_MAX).contains(&mebibytes) {
                bail!("http.{name}: expected 1 to {MEBIBYTES_MAX}, got {mebibytes}");
            }
        }
        let time = |name: &str, text: &str| {
            let time = duration(text).with_context(|| format!("http.{name}"))?;
            if time.is_zero() { Err(anyhow!("http.{name}: expected more than no time")) } else { Ok(time) }
        };
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
                .map_err(|why| anyhow!("http.proxies: {why}"))?,
        })
    }
}
