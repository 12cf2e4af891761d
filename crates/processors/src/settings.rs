//! What a translation depends on besides the body.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

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
