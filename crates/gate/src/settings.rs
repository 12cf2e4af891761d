//! What of the gate is configured.

use crate::door::Publishers;
use domain::FactKind;
use domain::settings::{InvalidSetting, duration};
use facts::rights;
use processors::{SourcePattern, Sources, Speaker};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What the worker is configured by.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who may state what on `inbound`.
    pub publishers: Publishers,
    pub retention: Retention,
}

/// How long the gate keeps what it need not keep for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The bodies of webhooks.
    pub raw_deliveries: Duration,
    /// What people wrote into facts; for good where nothing is said.
    pub fact_texts: Option<Duration>,
}

impl Retention {
    /// Reads the gate's two keys of `[retention]`.
    ///
    /// # Errors
    /// One is no duration.
    pub fn read(raw_deliveries: &str, fact_texts: Option<&str>) -> Result<Self, InvalidSetting> {
        let at = |key: &'static str| InvalidSetting::at(format!("retention.{key}"));
        Ok(Self {
            raw_deliveries: duration(raw_deliveries).map_err(at("raw_deliveries"))?,
            fact_texts: fact_texts.map(duration).transpose().map_err(at("fact_texts"))?,
        })
    }
}

/// One of `[[publishers]]`: a user of the broker, and what he may state.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "one of [[publishers]]")]
pub struct PublisherEntry {
    pub user: String,
    pub facts: Vec<String>,
    /// Under which sources alone it may state them: `gateway`, or `gateway/*`. Nobody else may use these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<String>>,
}

impl PublisherEntry {
    fn kinds(&self) -> Result<Vec<FactKind>, InvalidSetting> {
        let Self { user, facts, .. } = self;
        let kinds = rights::kinds(facts).map_err(InvalidSetting::at(format!("publishers {user}")))?;
        match rights::money_among(&kinds) {
            Some(kind) => Err(InvalidSetting::new(format!(
                "publishers {user}: {kind} is accepted from a verified webhook alone"
            ))),
            None => Ok(kinds),
        }
    }

    /// Binds it to its sources, where it names some.
    ///
    /// # Errors
    /// It names none in a list of them, or one is no pattern.
    pub fn bind(&self, sources: &mut Sources) -> Result<(), InvalidSetting> {
        let Self { user, sources: own, .. } = self;
        let Some(own) = own else { return Ok(()) };
        let own =
            SourcePattern::list(own).map_err(InvalidSetting::at(format!("publishers {user}: sources")))?;
        sources.bind(Speaker::Publisher(user.clone()), own);
        Ok(())
    }
}

impl Publishers {
    /// Which facts each publisher may state. Of a user that stands there twice both entries count.
    ///
    /// # Errors
    /// An entry names no kind of facts, or one about money.
    pub fn rights_of(
        entries: &[PublisherEntry],
    ) -> Result<BTreeMap<String, BTreeSet<FactKind>>, InvalidSetting> {
        let mut rights = BTreeMap::<String, BTreeSet<FactKind>>::new();
        for entry in entries {
            rights.entry(entry.user.clone()).or_default().extend(entry.kinds()?);
        }
        Ok(rights)
    }
}
