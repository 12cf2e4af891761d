//! What a translation depends on besides the body, and the sections of the configuration that say it.

use domain::catalog::RateAppliesTo;
use domain::settings::Masked;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// `[accounts]`: where a processor's bodies name the platform's accounts and prices.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, expecting = "the section [accounts]")]
pub struct AccountSettings {
    pub custom_data_key: String,
    pub metadata_price_key: String,
    pub metadata_quantity_key: String,
    /// The one key here that decides about no translation: the ledger reads it, beside the catalog.
    pub rate_applies_to: RateAppliesTo,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_secret: Option<Masked>,
}

impl Default for AccountSettings {
    fn default() -> Self {
        let Settings { custom_data_key, metadata_price_key, metadata_quantity_key, .. } = Settings::default();
        Self {
            custom_data_key,
            metadata_price_key,
            metadata_quantity_key,
            rate_applies_to: RateAppliesTo::Purchases,
            link_secret: None,
        }
    }
}

/// `[stripe]`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, expecting = "the section [stripe]")]
pub struct StripeSettings {
    /// Connected accounts whose events count here; the platform's own always do.
    pub accounts: Vec<String>,
}

/// What a translation depends on besides the body.
#[derive(Debug, Clone)]
pub struct Settings {
    pub mode: Mode,
    /// Where the platform put its account id: a key of Paddle's `custom_data` and of Stripe's `metadata`.
    pub custom_data_key: String,
    /// The key of Stripe's `metadata` that names a price of the catalog.
    pub metadata_price_key: String,
    /// The key of Stripe's `metadata` that says how many of that price.
    pub metadata_quantity_key: String,
    /// Connected accounts of Stripe's whose events count as the platform's own.
    pub stripe_accounts: Vec<String>,
    /// Set where the platform signs its account links: `<account>.<hex HMAC-SHA256(link_secret, account)>`.
    pub link_secret: Option<SecretString>,
    /// Decimal places of a credit in this deployment.
    pub credits_scale: u32,
}

impl Settings {
    /// As the configuration says. Every text is a valid key or account, so that nothing here can be wrong.
    pub fn new(mode: Mode, accounts: &AccountSettings, stripe: &StripeSettings, credits_scale: u32) -> Self {
        Self {
            mode,
            custom_data_key: accounts.custom_data_key.clone(),
            metadata_price_key: accounts.metadata_price_key.clone(),
            metadata_quantity_key: accounts.metadata_quantity_key.clone(),
            stripe_accounts: stripe.accounts.clone(),
            link_secret: accounts.link_secret.as_ref().map(|secret| secret.0.clone()),
            credits_scale,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Live,
            custom_data_key: "account_id".to_owned(),
            metadata_price_key: "price".to_owned(),
            metadata_quantity_key: "quantity".to_owned(),
            stripe_accounts: Vec::new(),
            link_secret: None,
            credits_scale: 6,
        }
    }
}

/// Whether this ledger is about real money. Deliveries of the other kind are kept and never applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Live,
    Test,
}
