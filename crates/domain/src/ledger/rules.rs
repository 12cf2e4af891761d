//! What decides about credits besides the facts: the deployment's settings, and how they are kept.

use crate::catalog::{Catalog, CatalogVersion};
use crate::lot::{BURN_ORDER_DEFAULT, BurnKey};
use crate::money::Credits;
use crate::record::Reading;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use time::Duration;

/// The deployment's settings that decide about credits.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Decimal places of a credit.
    pub scale: u32,
    pub burn_order: Vec<BurnKey>,
    /// `balance.low` is told when `available` falls below one of these.
    pub low: Vec<Credits>,
    /// How long credits that come back to a lot whose time is up can still be spent.
    pub grace: Duration,
    /// The catalog that new payments are granted by.
    pub current: CatalogVersion,
    /// Every catalog that a payment was ever granted by, the current one included.
    pub catalogs: BTreeMap<CatalogVersion, Catalog>,
    /// How records are understood.
    pub reading: Reading,
}

impl Rules {
    /// The defaults, with this catalog.
    pub fn new(catalog: Catalog) -> Self {
        let current = catalog.version();
        Self {
            scale: 6,
            burn_order: BURN_ORDER_DEFAULT.to_vec(),
            low: Vec::new(),
            grace: Duration::days(30),
            catalogs: BTreeMap::from([(current.clone(), catalog)]),
            current,
            reading: Reading::TODAY,
        }
    }
}

/// Rules as they are kept beside the facts that they decided; the catalogs are kept by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedRules {
    pub scale: u32,
    pub burn_order: Vec<BurnKey>,
    pub low: Vec<Credits>,
    pub grace_seconds: i64,
    pub catalog: CatalogVersion,
    /// Rules that were kept before there was a second reading are of the first.
    #[serde(default, skip_serializing_if = "Reading::is_first")]
    pub reading: Reading,
}

impl RecordedRules {
    /// What is kept of these rules.
    pub fn of(rules: &Rules) -> Self {
        Self {
            scale: rules.scale,
            burn_order: rules.burn_order.clone(),
            low: rules.low.clone(),
            grace_seconds: rules.grace.whole_seconds(),
            catalog: rules.current.clone(),
            reading: rules.reading,
        }
    }

    /// Names the content: the first 8 bytes of its SHA-256.
    pub fn version(&self) -> i64 {
        let content = serde_json::to_vec(self).expect("rules hold only strings and numbers");
        let mut first = [0; 8];
        first.copy_from_slice(&Sha256::digest(content)[..8]);
        i64::from_be_bytes(first)
    }

    /// The rules again, with the catalogs that payments were granted by.
    pub fn rules(self, catalogs: BTreeMap<CatalogVersion, Catalog>) -> Rules {
        Rules {
            scale: self.scale,
            burn_order: self.burn_order,
            low: self.low,
            grace: Duration::seconds(self.grace_seconds),
            current: self.catalog,
            catalogs,
            reading: self.reading,
        }
    }
}
