//! The configuration: environment first, then `bursar.toml`, then defaults. An unknown key is an error.
//!
//! A section is a type of the crate that it configures: its keys, defaults and checks stand there. Here stand the list of
//! sections, how they are read, and what the servers' addresses are.

mod digest;
mod limits;
mod parts;
mod retention;
mod secret;
#[cfg(test)]
mod tests;
mod unread;

use crate::masked;
use anyhow::{Context, Result, anyhow};
use bus::RetrySettings;
use dead_letters::{AlertSettings, DeadLetterSettings};
use disputes::DisputeSettings;
use domain::settings::InvalidSetting;
pub use domain::settings::{Masked, duration};
use gate::PublisherEntry;
use ingester::{DoorSettings, TokenEntry};
use ledger::{CatalogEntry, CreditSettings, RateEntry};
use limits::Limits;
use processors::{AccountSettings, Mode, PrivacySettings, StripeSettings};
use retention::RetentionSettings;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The file that is read where `BURSAR_CONFIG` names none.
const FILE_DEFAULT: &str = "bursar.toml";

/// What `bursar.toml` may say. Every field has a default, so that an empty file is a valid one.
///
/// A section to come is a field here, and whatever checks it is called in [`Config::check`], where the compiler asks for it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub mode: Mode,
    #[serde(default = "default_namespace")]
    pub namespace: String,
    #[serde(default = "default_database_url", serialize_with = "masked::address")]
    pub database_url: Masked,
    /// The role that owns the tables, where it is another than the one that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrate_url: Option<Masked>,
    #[serde(default = "default_amqp_url", serialize_with = "masked::address")]
    pub amqp_url: Masked,
    /// RabbitMQ's management interface, with a user and password: where `doctor` asks who may write where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rabbitmq_management_url: Option<Masked>,
    #[serde(default = "default_http_addr")]
    pub http_addr: SocketAddr,
    #[serde(default = "default_admin_addr")]
    pub admin_addr: SocketAddr,
    #[serde(default)]
    pub credits: CreditSettings,
    #[serde(default)]
    pub accounts: AccountSettings,
    #[serde(default)]
    pub stripe: StripeSettings,
    #[serde(default)]
    pub webhook_secrets: BTreeMap<String, Vec<Masked>>,
    #[serde(default)]
    pub privacy: PrivacySettings,
    #[serde(default)]
    pub catalog: Vec<CatalogEntry>,
    #[serde(default)]
    pub rate: BTreeMap<String, RateEntry>,
    #[serde(default)]
    pub publishers: Vec<PublisherEntry>,
    #[serde(default)]
    pub tokens: Vec<TokenEntry>,
    /// Tokens from `BURSAR_API_TOKENS`.
    #[serde(skip)]
    pub env_tokens: Vec<Masked>,
    #[serde(default)]
    pub retention: RetentionSettings,
    #[serde(default)]
    pub retries: RetrySettings,
    #[serde(default)]
    pub dead_letters: DeadLetterSettings,
    #[serde(default)]
    pub disputes: DisputeSettings,
    #[serde(default)]
    pub alerts: AlertSettings,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub http: DoorSettings,
}

fn default_namespace() -> String {
    "bursar".to_owned()
}

fn default_database_url() -> Masked {
    Masked::new("postgres://postgres@127.0.0.1:5432/bursar")
}

fn default_amqp_url() -> Masked {
    Masked::new("amqp://guest:guest@127.0.0.1:5672/%2f")
}

fn default_http_addr() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

fn default_admin_addr() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9090))
}

impl Default for Config {
    /// What an empty file says: each field's default stands at the field.
    fn default() -> Self {
        toml::from_str("").expect("every field has a default")
    }
}

/// An environment variable; empty counts as not set.
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

impl Config {
    /// Reads the file that `BURSAR_CONFIG` names, else `bursar.toml` where there is one, then the environment.
    pub fn load() -> Result<Self> {
        let named = env("BURSAR_CONFIG").map(PathBuf::from);
        let path = named.clone().unwrap_or_else(|| PathBuf::from(FILE_DEFAULT));
        let mut config = match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).with_context(|| format!("in {}", path.display()))?,
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                return Err(error).with_context(|| format!("reading the configuration {}", path.display()));
            }
        };
        config.apply_environment(env)?;
        config.check()?;
        Ok(config)
    }

    pub fn parse(text: &str) -> Result<Self> {
        let config: Self = toml::from_str(text).map_err(|error| anyhow!(unread::told(&error, text)))?;
        config.check()?;
        Ok(config)
    }

    fn apply_environment(&mut self, env: impl Fn(&str) -> Option<String>) -> Result<()> {
        let address = |name: &str, place: &mut SocketAddr| -> Result<()> {
            if let Some(text) = env(name) {
                *place =
                    text.parse().map_err(|_| anyhow!("{name}: expected <address>:<port>, got {text:?}"))?;
            }
            Ok(())
        };
        address("BURSAR_HTTP_ADDR", &mut self.http_addr)?;
        address("BURSAR_ADMIN_ADDR", &mut self.admin_addr)?;
        // Whatever holds a secret may come from a file.
        let secret = |name: &str| secret::secret(&env, name);
        if let Some(url) = secret("BURSAR_DATABASE_URL")? {
            self.database_url = Masked::new(url);
        }
        if let Some(url) = secret("BURSAR_AMQP_URL")? {
            self.amqp_url = Masked::new(url);
        }
        let optional = |name: &str, place: &mut Option<Masked>| -> Result<()> {
            if let Some(text) = secret(name)? {
                *place = Some(Masked::new(text));
            }
            Ok(())
        };
        optional("BURSAR_MIGRATE_URL", &mut self.migrate_url)?;
        optional("BURSAR_RABBITMQ_MANAGEMENT_URL", &mut self.rabbitmq_management_url)?;
        optional("BURSAR_LINK_SECRET", &mut self.accounts.link_secret)?;
        optional("BURSAR_DIGEST_KEY", &mut self.privacy.digest_key)?;
        optional("BURSAR_STRIPE_API_KEY", &mut self.stripe.api_key)?;
        if let Some(url) = secret("BURSAR_STRIPE_API_URL")? {
            self.stripe.api_url = url;
        }
        if let Some(namespace) = env("BURSAR_NAMESPACE") {
            self.namespace = namespace;
        }
        for processor in processors::ALL {
            if let Some(list) = secret(&format!("BURSAR_{}_WEBHOOK_SECRETS", processor.name.to_uppercase()))?
            {
                self.webhook_secrets.insert(processor.name.to_owned(), secret::listed(&list));
            }
        }
        if let Some(list) = secret("BURSAR_API_TOKENS")? {
            self.env_tokens = secret::listed(&list);
        }
        Ok(())
    }

    /// Everything that is made of the configuration can be made: an error shows at the start, not at the first payment.
    /// Every field is named, so that whoever adds one says here what checks it.
    fn check(&self) -> Result<()> {
        let Self {
            // Whatever can be read is valid.
            mode: _,
            http_addr: _,
            admin_addr: _,
            rabbitmq_management_url: _,
            dead_letters: _,
            // In `namespace` and `hosts`.
            namespace: _,
            database_url: _,
            migrate_url: _,
            amqp_url: _,
            // In `rules`, with `credits`.
            accounts: _,
            catalog: _,
            rate: _,
            // In `publishers` and `tokens`: no two may be bound to one source.
            publishers: _,
            tokens: _,
            env_tokens: _,
            // In `secrets`.
            webhook_secrets: _,
            credits,
            stripe,
            privacy,
            retention,
            retries,
            disputes,
            alerts,
            limits,
            http,
        } = self;
        self.namespace()?;
        self.hosts()?;
        self.rules()?;
        credits.expire_every()?;
        self.publishers()?;
        self.tokens()?;
        retention.of_gate()?;
        retention.of_dead_letters()?;
        disputes.settings(&self.stripe)?;
        alerts.thresholds()?;
        retries.ladder()?;
        self.secrets()?;
        http.limits()?;
        credits.check()?;
        stripe.check()?;
        privacy.check()?;
        limits.check()?;
        Ok(())
    }

    /// That the servers' URLs can be read.
    fn hosts(&self) -> Result<()> {
        db::Hosts::read(&self.database_url.0, "")?;
        db::Hosts::read(self.owner_url(), "")?;
        bus::BrokerHosts::parse(self.amqp_url.0.expose_secret())
            .map_err(InvalidSetting::at("the URL of RabbitMQ"))?;
        Ok(())
    }
}
