//! What each part of the fleet is given of the configuration. Where one is told by sections of several crates, they meet here.

use super::Config;
use crate::address::Address;
use anyhow::{Context, Result, anyhow};
use bus::Ladder;
use domain::catalog::Catalog;
use domain::ledger::Rules;
use domain::settings::Masked;
use facts::FactWriter;
use gate::Publishers;
use ingester::{Intake, Secrets, Tokens};
use ledger::Grants;
use processors::Sources;
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

impl Config {
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

    /// How processors' bodies are read.
    pub fn settings(&self) -> processors::Settings {
        let Self { accounts, stripe, privacy, .. } = self;
        processors::Settings::new(self.mode, accounts, stripe, privacy, self.credits.scale)
    }

    pub fn secrets(&self) -> Result<Secrets> {
        Ok(Secrets::read(&self.webhook_secrets)?)
    }

    fn grants(&self) -> Grants<'_> {
        let rate_applies_to = self.accounts.rate_applies_to;
        Grants { catalog: &self.catalog, rates: &self.rate, rate_applies_to }
    }

    pub fn catalog(&self) -> Result<Catalog> {
        Ok(self.credits.catalog(self.grants())?)
    }

    /// What decides about credits.
    pub fn rules(&self) -> Result<Rules> {
        Ok(self.credits.rules(self.grants())?)
    }

    pub fn publishers(&self) -> Result<Publishers> {
        Ok(Publishers { rights: Publishers::rights_of(&self.publishers)?, sources: self.sources()? })
    }

    /// Which sources are bound to which publishers and tokens. Publishers are the gate's and tokens the ingester's, and no
    /// two of them may be bound to one source.
    pub fn sources(&self) -> Result<Sources> {
        let mut sources = Sources::default();
        for publisher in &self.publishers {
            publisher.bind(&mut sources)?;
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
        Ok(Tokens::read(&self.tokens, &self.env_tokens)?)
    }

    /// What deliveries pass through before they are durable.
    pub fn intake(&self, facts: FactWriter) -> Result<Intake> {
        Ok(Intake { settings: self.settings(), secrets: self.secrets()?, sources: self.sources()?, facts })
    }

    pub fn gate(&self) -> Result<gate::Settings> {
        Ok(gate::Settings { publishers: self.publishers()?, retention: self.retention.of_gate()? })
    }

    pub fn ledger(&self) -> Result<ledger::Settings> {
        Ok(ledger::Settings { rules: self.rules()?, expire_every: self.credits.expire_every()? })
    }

    pub fn dead_letters(&self) -> Result<dead_letters::Settings> {
        let retention = self.retention.of_dead_letters()?;
        Ok(dead_letters::Settings { retention, alerts: self.alerts.thresholds()? })
    }

    pub fn ladder(&self) -> Result<Ladder> {
        Ok(self.retries.ladder()?)
    }

    /// How long a message rests at most before a worker gives up on it.
    pub fn rests(&self) -> Result<Duration> {
        Ok(self.retries.rests()?)
    }
}
