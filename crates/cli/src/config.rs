//! The configuration: environment first, then `bursar.toml`, then defaults. An unknown key is an error.

mod secret;
mod unread;

use crate::address::Address;
use crate::masked;
pub use crate::masked::Masked;
use anyhow::{Context, Result, anyhow, bail};
use bus::Ladder;
use dead_letters::alerts::{CREDITS, Thresholds};
use domain::FactKind;
use domain::catalog::{Catalog, Price, RateAppliesTo};
use domain::ledger::Rules;
use domain::lot::{BURN_ORDER_DEFAULT, BurnKey};
use domain::money::{Credits, Money, SCALE_MAX, currency, exponent};
use facts::FactWriter;
use ingester::{Intake, Secrets, Token, Tokens};
use processors::{Mode, SourcePattern, Sources, Speaker};
use rust_decimal::Decimal;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

mod http;

pub use http::HttpConfig;

/// The file that is read where `BURSAR_CONFIG` names none.
const FILE_DEFAULT: &str = "bursar.toml";

/// What `bursar.toml` may say. Every field has a default, so that an empty file is a valid one.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub mode: Mode,
    pub namespace: String,
    #[serde(serialize_with = "masked::address")]
    pub database_url: Masked,
    /// The role that owns the tables, where it is another than the one that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migrate_url: Option<Masked>,
    #[serde(serialize_with = "masked::address")]
    pub amqp_url: Masked,
    /// RabbitMQ's management interface, with a user and password: where `doctor` asks who may write where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rabbitmq_management_url: Option<Masked>,
    pub http_addr: SocketAddr,
    pub admin_addr: SocketAddr,
    pub credits: CreditsConfig,
    pub accounts: AccountsConfig,
    pub stripe: StripeConfig,
    pub webhook_secrets: BTreeMap<String, Vec<Masked>>,
    pub catalog: Vec<CatalogEntry>,
    pub rate: BTreeMap<String, Rate>,
    pub publishers: Vec<Publisher>,
    pub tokens: Vec<TokenEntry>,
    /// Tokens from `BURSAR_API_TOKENS`.
    #[serde(skip)]
    pub env_tokens: Vec<Masked>,
    pub retention: Retention,
    pub retries: Retries,
    pub dead_letters: DeadLettersConfig,
    pub alerts: AlertsConfig,
    pub limits: Limits,
    pub http: HttpConfig,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CreditsConfig {
    /// Decimal places of a credit.
    pub scale: u32,
    pub burn_order: Vec<BurnKey>,
    /// `balance.low` is told when what an account can spend falls below one of these.
    pub low: Vec<Credits>,
    /// How long credits that come back to a lot whose time is up can still be spent.
    pub restore_grace: String,
    /// How often lots are looked for whose time is up.
    pub expire_every: String,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccountsConfig {
    pub custom_data_key: String,
    pub metadata_price_key: String,
    pub metadata_quantity_key: String,
    pub rate_applies_to: RateAppliesTo,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_secret: Option<Masked>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogEntry {
    pub processor: String,
    pub price: String,
    pub credits: Credits,
    #[serde(default)]
    pub bonus: Credits,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_after: Option<String>,
    /// What one unit costs before discounts and tax, by currency code.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub amount: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StripeConfig {
    /// Connected accounts whose events count here; the platform's own always do.
    pub accounts: Vec<String>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    pub credits_per_unit: String,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Publisher {
    pub user: String,
    pub facts: Vec<String>,
    /// Under which sources alone it may state them: `gateway`, or `gateway/*`. Nobody else may use these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<String>>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
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

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// How long the bodies of webhooks are kept; facts and journal stay for good.
    pub raw_deliveries: String,
    /// How long what strangers wrote into facts is kept; for good where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fact_texts: Option<String>,
    /// How long dead letters are kept once they are resolved, or went on as another letter.
    pub resolved_dead_letters: String,
    /// How long discarded dead letters are kept, and can be taken back. Open ones are kept for good.
    pub discarded_dead_letters: String,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// How long a message rests before each further attempt, where it failed for a reason that nobody foresaw.
    pub delays: Vec<String>,
}

impl Default for Retries {
    fn default() -> Self {
        Self { delays: ["1s", "10s", "1m"].map(str::to_owned).to_vec() }
    }
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLettersConfig {
    /// Whether operators may change what a dead letter says.
    pub edit: bool,
}

/// From when on operators are alerted; each key is the name of its alert.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsConfig {
    /// More dead letters than this within a minute.
    pub dead_letters_inflow: u32,
    /// One that is open for longer.
    pub dead_letters_oldest: String,
    /// The queue of dead letters is not empty for longer.
    pub dead_letters_queue: String,
    /// So many letters of one replay died again.
    pub replay_failing: u32,
    /// More than this hangs on open dead letters, by currency, or `credits`.
    pub dead_letters_at_stake: BTreeMap<String, String>,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self {
            dead_letters_inflow: 10,
            dead_letters_oldest: "1h".to_owned(),
            dead_letters_queue: "1m".to_owned(),
            replay_failing: 1,
            dead_letters_at_stake: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Consumers of each queue in one process.
    pub lanes: usize,
    /// Connections of one process to Postgres.
    pub database_connections: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::Live,
            namespace: "bursar".to_owned(),
            database_url: Masked::new("postgres://postgres@127.0.0.1:5432/bursar"),
            migrate_url: None,
            amqp_url: Masked::new("amqp://guest:guest@127.0.0.1:5672/%2f"),
            rabbitmq_management_url: None,
            http_addr: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin_addr: SocketAddr::from(([127, 0, 0, 1], 9090)),
            credits: CreditsConfig::default(),
            accounts: AccountsConfig::default(),
            stripe: StripeConfig::default(),
            webhook_secrets: BTreeMap::new(),
            catalog: Vec::new(),
            rate: BTreeMap::new(),
            publishers: Vec::new(),
            tokens: Vec::new(),
            env_tokens: Vec::new(),
            retention: Retention::default(),
            retries: Retries::default(),
            dead_letters: DeadLettersConfig::default(),
            alerts: AlertsConfig::default(),
            limits: Limits::default(),
            http: HttpConfig::default(),
        }
    }
}

impl Default for CreditsConfig {
    fn default() -> Self {
        Self {
            scale: 6,
            burn_order: BURN_ORDER_DEFAULT.to_vec(),
            low: Vec::new(),
            restore_grace: "30d".to_owned(),
            expire_every: "1m".to_owned(),
        }
    }
}

impl Default for AccountsConfig {
    fn default() -> Self {
        let defaults = processors::Settings::default();
        Self {
            custom_data_key: defaults.custom_data_key,
            metadata_price_key: defaults.metadata_price_key,
            metadata_quantity_key: defaults.metadata_quantity_key,
            rate_applies_to: RateAppliesTo::Purchases,
            link_secret: None,
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            raw_deliveries: "90d".to_owned(),
            fact_texts: None,
            resolved_dead_letters: "30d".to_owned(),
            discarded_dead_letters: "90d".to_owned(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { lanes: 2, database_connections: 12 }
    }
}

/// What one unit of a price costs, in main units by currency code.
fn unit_amounts(stated: &BTreeMap<String, String>) -> Result<BTreeMap<String, Decimal>> {
    let mut amounts = BTreeMap::new();
    for (code, text) in stated {
        let currency = currency(code).with_context(|| format!("amount.{code}"))?;
        let places = exponent(currency);
        let amount = text.parse::<Decimal>().ok().map(|amount| amount.normalize());
        let fits = |amount: &Decimal| *amount > Decimal::ZERO && amount.scale() <= places;
        let Some(amount) = amount.filter(fits).and_then(|amount| Money::new(amount, currency).ok()) else {
            bail!(
                "amount.{code}: expected more than zero with at most {places} decimal places, in quotes, got {text:?}"
            );
        };
        if amounts.insert(currency.code().to_owned(), amount.amount()).is_some() {
            bail!("amount.{code}: stands twice");
        }
    }
    Ok(amounts)
}

/// An environment variable; empty counts as not set.
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

impl Config {
    /// Names what decides about facts: these settings, and the version. Short, and no secret can be told from it.
    pub fn digest(&self) -> String {
        let Self { mode, credits, accounts, stripe, webhook_secrets, catalog, rate, publishers, .. } = self;
        let doors: Vec<&String> = webhook_secrets.keys().collect();
        let version = env!("CARGO_PKG_VERSION");
        let deciding = (version, mode, credits, accounts, stripe, doors, catalog, rate, publishers);
        let text = serde_json::to_vec(&deciding).expect("settings are plain data");
        Sha256::digest(text).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }

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

    /// Everything that is derived from the configuration can be: an error shows at the start, not at the first payment.
    fn check(&self) -> Result<()> {
        self.namespace()?;
        self.hosts()?;
        self.rules()?;
        self.expire_every()?;
        self.publishers()?;
        self.tokens()?;
        self.retention()?;
        self.text_retention()?;
        self.dead_letter_retention()?;
        self.alerts()?;
        self.ladder()?;
        self.secrets()?;
        self.http.limits()?;
        if self.credits.scale > SCALE_MAX {
            bail!("credits.scale: expected 0 to {SCALE_MAX} decimal places, got {}", self.credits.scale);
        }
        if self.credits.burn_order.is_empty() {
            bail!("credits.burn_order: expected at least one of expiry, promotional, oldest");
        }
        // Four queues whose lanes each hold a connection for a batch, and what goes on beside them.
        let needed = 4 * self.limits.lanes + 2;
        if !(1..=16).contains(&self.limits.lanes) || (self.limits.database_connections as usize) < needed {
            bail!(
                "limits: expected 1 to 16 lanes, and for {} of them at least {needed} database_connections",
                self.limits.lanes
            );
        }
        Ok(())
    }

    pub fn namespace(&self) -> Result<bus::Namespace> {
        bus::Namespace::new(&self.namespace).map_err(|error| anyhow!("namespace: {error}"))
    }

    /// The URL of the role that owns the tables.
    pub fn owner_url(&self) -> &SecretString {
        &self.migrate_url.as_ref().unwrap_or(&self.database_url).0
    }

    /// The role that runs, where another one owns the tables.
    pub fn runtime_role(&self) -> Option<String> {
        let role = |url: &Masked| Some(Address::each(url.0.expose_secret()).into_iter().next()?.user);
        let (runs, owns) = (role(&self.database_url)?, self.migrate_url.as_ref().and_then(role)?);
        (runs != owns).then_some(runs)
    }

    /// That the servers' URLs can be read.
    fn hosts(&self) -> Result<()> {
        db::Hosts::read(&self.database_url.0, "")?;
        db::Hosts::read(self.owner_url(), "")?;
        bus::BrokerHosts::parse(self.amqp_url.0.expose_secret())
            .map_err(|why| anyhow!("the URL of RabbitMQ: {why}"))?;
        Ok(())
    }

    pub fn settings(&self) -> processors::Settings {
        processors::Settings {
            metadata_quantity_key: self.accounts.metadata_quantity_key.clone(),
            stripe_accounts: self.stripe.accounts.clone(),
            mode: self.mode,
            custom_data_key: self.accounts.custom_data_key.clone(),
            metadata_price_key: self.accounts.metadata_price_key.clone(),
            link_secret: self.accounts.link_secret.as_ref().map(|secret| secret.0.clone()),
            credits_scale: self.credits.scale,
        }
    }

    pub fn secrets(&self) -> Result<Secrets> {
        let mut secrets = Secrets::default();
        for (name, list) in &self.webhook_secrets {
            let known = processors::ALL.map(|processor| processor.name).join(", ");
            let processor = processors::find(name)
                .ok_or_else(|| anyhow!("webhook_secrets: expected a processor of {known}, got {name:?}"))?;
            secrets.0.insert(processor.name, list.iter().map(|secret| secret.0.clone()).collect());
        }
        Ok(secrets)
    }

    pub fn catalog(&self) -> Result<Catalog> {
        let mut catalog = Catalog { rate_applies_to: self.accounts.rate_applies_to, ..Catalog::default() };
        for entry in &self.catalog {
            let at = format!("catalog {}:{}", entry.processor, entry.price);
            for (field, credits) in [("credits", entry.credits), ("bonus", entry.bonus)] {
                credits.within(self.credits.scale).with_context(|| format!("{at}: {field}"))?;
                if credits < Credits::ZERO {
                    bail!("{at}: {field}: expected zero or more, got {credits}");
                }
            }
            let expires =
                entry.expires_after.as_deref().map(duration).transpose().with_context(|| at.clone())?;
            let price = Price {
                amounts: unit_amounts(&entry.amount).with_context(|| at.clone())?,
                credits: entry.credits,
                bonus: entry.bonus,
                expires_after_seconds: expires.map(|after| after.as_secs() as i64),
            };
            let prices = catalog.prices.entry(entry.processor.clone()).or_default();
            if prices.insert(entry.price.clone(), price).is_some() {
                bail!("{at}: stands twice in the catalog");
            }
        }
        for (code, rate) in &self.rate {
            let currency = currency(code).with_context(|| format!("rate.{code}"))?;
            let per_unit: Decimal = rate.credits_per_unit.parse().map_err(|_| {
                anyhow!(
                    "rate.{code}: expected credits_per_unit as a decimal, got {:?}",
                    rate.credits_per_unit
                )
            })?;
            if per_unit <= Decimal::ZERO {
                bail!("rate.{code}: expected more than zero credits_per_unit, got {per_unit}");
            }
            catalog.rates.insert(currency.code().to_owned(), per_unit);
        }
        Ok(catalog)
    }

    pub fn publishers(&self) -> Result<gate::Publishers> {
        let mut publishers = gate::Publishers::default();
        for publisher in &self.publishers {
            let facts =
                fact_kinds(&publisher.facts).with_context(|| format!("publishers {}", publisher.user))?;
            if let Some(kind) = facts::rights::money_among(&facts) {
                bail!("publishers {}: {kind} is accepted from a verified webhook alone", publisher.user);
            }
            publishers
                .rights
                .entry(publisher.user.clone())
                .or_default()
                .extend(facts.into_iter().collect::<BTreeSet<_>>());
        }
        publishers.sources = self.sources()?;
        Ok(publishers)
    }

    /// Which sources are bound to which publishers and tokens.
    pub fn sources(&self) -> Result<Sources> {
        let mut sources = Sources::default();
        for Publisher { user, sources: own, .. } in &self.publishers {
            if let Some(own) = own {
                let own = patterns(own).with_context(|| format!("publishers {user}: sources"))?;
                sources.bind(Speaker::Publisher(user.clone()), own);
            }
        }
        for token in self.tokens()?.0 {
            if !token.sources.is_empty() {
                sources.bind(token.speaker(), token.sources);
            }
        }
        sources.check_bindings().context("sources")?;
        Ok(sources)
    }

    pub fn tokens(&self) -> Result<Tokens> {
        let mut tokens = Vec::new();
        for entry in &self.tokens {
            let scopes = entry.scopes.iter().map(|scope| scope.parse()).collect::<Result<_, _>>();
            let facts = entry.facts.as_deref().map(fact_kinds).transpose()?;
            let token = Token::new(&entry.name, &entry.sha256, scopes.context("tokens")?, facts);
            let sources = entry.sources.as_deref().map(patterns).transpose();
            let sources = sources.with_context(|| format!("tokens {}: sources", entry.name))?;
            tokens.push(token.context("tokens")?.with_sources(sources.unwrap_or_default()));
        }
        for text in &self.env_tokens {
            tokens.push(Token::parse(text.0.expose_secret()).context("BURSAR_API_TOKENS")?);
        }
        Ok(Tokens(tokens))
    }

    /// What deliveries pass through before they are durable.
    pub fn intake(&self, facts: FactWriter) -> Result<Intake> {
        Ok(Intake { settings: self.settings(), secrets: self.secrets()?, sources: self.sources()?, facts })
    }

    pub fn gate(&self) -> Result<gate::Settings> {
        let (raw_retention, text_retention) = (self.retention()?, self.text_retention()?);
        Ok(gate::Settings { publishers: self.publishers()?, raw_retention, text_retention })
    }

    pub fn ledger(&self) -> Result<ledger::Settings> {
        Ok(ledger::Settings { rules: self.rules()?, expire_every: self.expire_every()? })
    }

    pub fn dead_letters(&self) -> Result<dead_letters::Settings> {
        Ok(dead_letters::Settings { retention: self.dead_letter_retention()?, alerts: self.alerts()? })
    }

    pub fn retention(&self) -> Result<Duration> {
        duration(&self.retention.raw_deliveries).context("retention.raw_deliveries")
    }

    pub fn text_retention(&self) -> Result<Option<Duration>> {
        let texts = self.retention.fact_texts.as_deref();
        texts.map(duration).transpose().context("retention.fact_texts")
    }

    pub fn dead_letter_retention(&self) -> Result<dead_letters::LetterRetention> {
        let Retention { resolved_dead_letters: resolved, discarded_dead_letters: discarded, .. } =
            &self.retention;
        Ok(dead_letters::LetterRetention {
            resolved: duration(resolved).context("retention.resolved_dead_letters")?,
            discarded: duration(discarded).context("retention.discarded_dead_letters")?,
        })
    }

    pub fn alerts(&self) -> Result<Thresholds> {
        let alerts = &self.alerts;
        let at_stake = alerts.dead_letters_at_stake.iter().map(|(unit, text)| at_stake(unit, text));
        if alerts.replay_failing == 0 {
            bail!("alerts.replay_failing: expected 1 letter or more, got 0");
        }
        Ok(Thresholds {
            inflow: alerts.dead_letters_inflow.into(),
            oldest: duration(&alerts.dead_letters_oldest).context("alerts.dead_letters_oldest")?,
            queue: duration(&alerts.dead_letters_queue).context("alerts.dead_letters_queue")?,
            replay_failing: alerts.replay_failing.into(),
            at_stake: at_stake.collect::<Result<_>>().context("alerts.dead_letters_at_stake")?,
        })
    }

    pub fn ladder(&self) -> Result<Ladder> {
        let delays: Result<Vec<Duration>> = self.retries.delays.iter().map(|text| duration(text)).collect();
        Ladder::new(&delays.context("retries.delays")?).map_err(|why| anyhow!("retries.delays: {why}"))
    }

    /// How long a message rests at most before a worker gives up on it.
    pub fn rests(&self) -> Result<Duration> {
        self.retries.delays.iter().map(|text| duration(text)).sum::<Result<_>>().context("retries.delays")
    }

    /// What decides about credits.
    pub fn rules(&self) -> Result<Rules> {
        let grace = duration(&self.credits.restore_grace).context("credits.restore_grace")?;
        for low in &self.credits.low {
            if !low.is_positive() {
                bail!("credits.low: expected more than zero credits, got {low}");
            }
            low.within(self.credits.scale).context("credits.low")?;
        }
        Ok(Rules {
            scale: self.credits.scale,
            burn_order: self.credits.burn_order.clone(),
            low: self.credits.low.clone(),
            grace: time::Duration::try_from(grace).context("credits.restore_grace")?,
            ..Rules::new(self.catalog()?)
        })
    }

    pub fn expire_every(&self) -> Result<Duration> {
        let every = duration(&self.credits.expire_every).context("credits.expire_every")?;
        if every < Duration::from_secs(1) {
            bail!("credits.expire_every: expected a second or more, got {:?}", self.credits.expire_every);
        }
        Ok(every)
    }
}

/// How much of a currency, or of credits, may hang on open dead letters.
fn at_stake(unit: &str, text: &str) -> Result<(String, Decimal)> {
    let unit = match unit {
        CREDITS => unit,
        code => currency(code).with_context(|| format!("expected a currency or {CREDITS}"))?.code(),
    };
    match text.parse() {
        Ok(above) if above >= Decimal::ZERO => Ok((unit.to_owned(), above)),
        Ok(_) | Err(_) => bail!("{unit}: expected a decimal of zero or more, got {text:?}"),
    }
}

/// Longer than anything lasts: so that no moment less or more than a duration is beyond what can be told.
const DURATION_MAX: Duration = Duration::from_secs(100 * 366 * 86_400);

/// Reads a duration, wherever one is said.
pub fn duration(text: &str) -> Result<Duration> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= DURATION_MAX => Ok(duration),
        Ok(_) => bail!("expected a duration of at most 100 years, got {text:?}"),
        Err(_) => bail!("expected a duration such as 365d or 12h, got {text:?}"),
    }
}

fn patterns(texts: &[String]) -> Result<Vec<SourcePattern>> {
    if texts.is_empty() {
        bail!("expected one source or more, got none: leave the key out for whoever is bound to no source");
    }
    texts.iter().map(|text| Ok(text.parse()?)).collect()
}

fn fact_kinds(names: &[String]) -> Result<Vec<FactKind>> {
    let known = || FactKind::ALL.map(FactKind::as_str).join(", ");
    names
        .iter()
        .map(|name| {
            FactKind::parse(name).ok_or_else(|| anyhow!("expected facts of {}, got {name:?}", known()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTRACT: &str = r#"
        mode = "live"
        [credits]
        scale = 6
        burn_order = ["expiry", "promotional", "oldest"]
        [[catalog]]
        processor = "paddle"
        price = "pri_01h1vjes1y163xfj1rh1tkfb65"
        credits = "1000"
        bonus = "50"
        expires_after = "365d"
        [rate.USD]
        credits_per_unit = "100"
        [accounts]
        custom_data_key = "account_id"
        metadata_price_key = "price"
        [[publishers]]
        user = "guest"
        facts = ["fact.usage", "fact.grant", "fact.customer", "fact.refund_request"]
    "#;

    #[test]
    fn what_the_readme_shows_can_be_read() {
        let readme = include_str!("../../../README.md");
        let block = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
        let read: Result<Config, _> = toml::from_str(block.expect("an example"));
        read.expect("every key once, and known");
    }

    #[test]
    fn the_documented_configuration_is_read() {
        let config = Config::parse(CONTRACT).unwrap();
        let catalog = config.catalog().unwrap();
        let price = &catalog.prices["paddle"]["pri_01h1vjes1y163xfj1rh1tkfb65"];
        assert_eq!((price.bonus, price.expires_after_seconds), (Credits::whole(50), Some(365 * 86_400)));
        assert_eq!(config.publishers().unwrap().rights["guest"].len(), 4);
    }

    #[test]
    fn alerts_have_thresholds_of_their_own() {
        let text = "[alerts]\ndead_letters_inflow = 3\ndead_letters_at_stake = { USD = \"1000\", credits = \"0.5\" }";
        let thresholds = Config::parse(text).unwrap().alerts().unwrap();
        assert_eq!((thresholds.inflow, thresholds.oldest), (3, Duration::from_secs(3600)));
        let at_stake: Vec<String> =
            thresholds.at_stake.iter().map(|(unit, above)| format!("{unit} {above}")).collect();
        assert_eq!(at_stake, ["USD 1000", "credits 0.5"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |text: &str, expect: &str| {
            let error = format!("{:#}", Config::parse(text).unwrap_err());
            assert!(error.contains(expect), "{error}");
        };
        check("colour = 1", "unknown field `colour`");
        check("[credits]\nscale = 13", "credits.scale");
        check("[credits]\nburn_order = [\"newest\"]", "expected one of `expiry`");
        check("[rate.XYZQ]\ncredits_per_unit = \"1\"", "ISO 4217");
        let priced = |amount: &str| {
            format!(
                "[[catalog]]\nprocessor = \"stripe\"\nprice = \"p\"\ncredits = \"1\"\namount = {{ {amount} }}"
            )
        };
        check(&priced("XYZQ = \"10.00\""), "ISO 4217");
        check(&priced("USD = \"0\""), "more than zero");
        check(&priced("USD = \"-10\""), "more than zero");
        check(&priced("JPY = \"10.50\""), "at most 0 decimal places");
        check(&priced("USD = \"10.001\""), "at most 2 decimal places");
        check(&priced("USD = \"10\", usd = \"20\""), "stands twice");
        check("[accounts]\nrate_applies_to = \"some\"", "expected `any` or `purchases`");
        check("[rate.USD]\ncredits_per_unit = \"-1\"", "more than zero");
        check("[[publishers]]\nuser = \"a\"\nfacts = [\"fact.payment\"]", "verified webhook alone");
        check("[[publishers]]\nuser = \"a\"\nfacts = [\"usage\"]", "fact.usage");
        let publisher = "[[publishers]]\nuser = \"a\"\nfacts = [\"fact.usage\"]\n";
        check(
            &format!("{publisher}sources = [\"gate*\"]"),
            "publishers a: sources: expected a source such as",
        );
        check(&format!("{publisher}sources = [\"paddle/*\"]"), "one of the fleet's own");
        check(&format!("{publisher}sources = []"), "one source or more, got none");
        let token = "[[tokens]]\nname = \"t\"\nscopes = [\"facts\"]\nsha256 = \"2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\"\n";
        check(&format!("{token}sources = [\"a*b\"]"), "tokens t: sources: expected a source such as");
        check(
            &format!("{publisher}sources = [\"gateway/*\"]\n{token}sources = [\"gateway/eu/*\"]"),
            "different publishers and tokens",
        );
        check("[webhook_secrets]\npayball = [\"x\"]", "paddle, stripe, generic");
        check("[retention]\nraw_deliveries = \"long\"", "a duration such as");
        for text in [
            "[retention]\nraw_deliveries = \"300000years\"",
            "[retention]\nresolved_dead_letters = \"300000years\"",
            "[alerts]\ndead_letters_oldest = \"300000years\"",
            "[credits]\nrestore_grace = \"300000years\"",
        ] {
            check(text, "at most 100 years");
        }
        check("namespace = \"a b\"", "namespace");
        check("[http]\nhead_timeout = \"soon\"", "http.head_timeout");
        check("[http]\nbody_rate = 0", "http.body_rate");
        check("[http]\nwork_mib = 0", "http.work_mib");
        check("[http]\nproxies = [\"proxy\"]", "http.proxies");
        check("[http]\nproxy_header = \"via\"", "x-forwarded-for");
        check("[alerts]\ndead_letters_oldest = \"soon\"", "alerts.dead_letters_oldest");
        check("[alerts]\nreplay_failing = 0", "alerts.replay_failing");
        check("[alerts.dead_letters_at_stake]\nEUR = \"-1\"", "EUR: expected a decimal");
        check("[alerts.dead_letters_at_stake]\nshells = \"1\"", "a currency or credits");
        check(
            "[[catalog]]\nprocessor = \"paddle\"\nprice = \"p\"\ncredits = \"0.0000001\"",
            "6 decimal places",
        );
    }

    #[test]
    fn the_environment_comes_first_and_empty_counts_as_unset() {
        let mut config = Config::parse(CONTRACT).unwrap();
        let env = |name: &str| match name {
            "BURSAR_NAMESPACE" => Some("shop".to_owned()),
            "BURSAR_PADDLE_WEBHOOK_SECRETS" => Some("one, two,".to_owned()),
            "BURSAR_API_TOKENS" => Some(format!("gw:facts:{}@gateway/*", ingester::hash("x"))),
            _ => None,
        };
        config.apply_environment(env).unwrap();
        let sources = config.sources().unwrap();
        assert!(sources.check(Some(&Speaker::Token("gw".to_owned())), "gateway/1").is_ok());
        assert!(sources.check(Some(&Speaker::Publisher("guest".to_owned())), "gateway/1").is_err());
        assert_eq!(config.namespace, "shop");
        assert_eq!(config.secrets().unwrap().0["paddle"].len(), 2);
    }

    #[test]
    fn every_secret_may_come_from_a_file() {
        let file = std::env::temp_dir().join(format!("bursar-secrets-{}", std::process::id()));
        std::fs::write(&file, "postgres://a:hush@h/d\n").unwrap();
        let mut config = Config::default();
        let path = file.to_str().unwrap().to_owned();
        config.apply_environment(|name| name.ends_with("_FILE").then(|| path.clone())).unwrap();
        std::fs::remove_file(&file).unwrap();
        let shown = |secret: &Masked| secret.0.expose_secret().to_owned();
        let mut read = vec![shown(&config.database_url), shown(&config.amqp_url)];
        read.extend(
            [&config.migrate_url, &config.rabbitmq_management_url, &config.accounts.link_secret]
                .map(|secret| shown(secret.as_ref().unwrap())),
        );
        read.extend(processors::ALL.map(|processor| shown(&config.webhook_secrets[processor.name][0])));
        read.extend(config.env_tokens.iter().map(shown));
        assert_eq!(read, vec!["postgres://a:hush@h/d"; 9]);
    }

    #[test]
    fn the_role_that_runs_is_told_from_the_one_that_owns() {
        let check = |migrate_url: Option<&str>, expect: Option<&str>| {
            let database_url = Masked::new("postgres://runs:x@h/d");
            let migrate_url = migrate_url.map(Masked::new);
            let config = Config { database_url, migrate_url, ..Config::default() };
            assert_eq!(config.runtime_role().as_deref(), expect);
        };
        check(None, None);
        check(Some("postgres://runs:y@h/d"), None);
        check(Some("postgres://owns:y@h/d"), Some("runs"));
    }

    #[test]
    fn secrets_are_never_shown() {
        let mut config = Config { database_url: Masked::new("postgres://a:hush@h/d"), ..Config::default() };
        config.webhook_secrets.insert("paddle".to_owned(), vec![Masked::new("hush")]);
        config.accounts.link_secret = Some(Masked::new("https://a:hush@h"));
        config.env_tokens = vec![Masked::new("shop:facts:hush")];
        let shown = toml::to_string(&config).unwrap();
        assert!(shown.contains("postgres://a:***@h/d") && !shown.contains("hush"), "{shown}");
        let told = format!("{config:?}");
        assert!(!told.contains("hush"), "{told}");
    }
}
