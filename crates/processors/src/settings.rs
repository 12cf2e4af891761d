//! What a translation depends on besides the body, and the sections of the configuration that say it.

use crate::origin::{Origins, PrivacySettings};
use domain::catalog::RateAppliesTo;
use domain::settings::{InvalidSetting, Masked};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

/// `[accounts]`: where a processor's bodies name the platform's accounts and prices.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, expecting = "the section [accounts]")]
pub struct AccountSettings {
    pub custom_data_key: String,
    pub metadata_price_key: String,
    pub metadata_quantity_key: String,
    /// Where a body names the address and the device that a purchase was made from. None: that is not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata_ip_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata_device_key: Option<String>,
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
            metadata_ip_key: None,
            metadata_device_key: None,
            rate_applies_to: RateAppliesTo::Purchases,
            link_secret: None,
        }
    }
}

/// `[stripe]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, expecting = "the section [stripe]")]
pub struct StripeSettings {
    /// Connected accounts whose events count here; the platform's own always do.
    pub accounts: Vec<String>,
    /// What lets us into Stripe's API: a restricted key will do. None: Stripe is not called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Masked>,
    /// Where its API answers: scheme, host and port.
    pub api_url: String,
}

impl Default for StripeSettings {
    fn default() -> Self {
        Self { accounts: Vec::new(), api_key: None, api_url: STRIPE_API.to_owned() }
    }
}

const STRIPE_API: &str = "https://api.stripe.com";

const STRIPE_FILES: &str = "https://files.stripe.com";

impl StripeSettings {
    /// # Errors
    /// A key that cannot stand in a header, or a URL that is none of a server.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        self.authorization()?;
        self.api_url()?;
        Ok(())
    }

    /// The whole value of the header `Authorization`; nothing without a key.
    ///
    /// # Errors
    /// A key that cannot stand in a header.
    pub fn authorization(&self) -> Result<Option<SecretString>, InvalidSetting> {
        let Some(key) = &self.api_key else { return Ok(None) };
        let key = key.0.expose_secret();
        match !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Some(SecretString::from(format!("Bearer {key}")))),
            false => Err(InvalidSetting::new(
                "stripe.api_key: expected a key of Stripe's, as rk_live_..., got something that is none",
            )),
        }
    }

    /// # Errors
    /// A URL that is none of a server.
    pub fn api_url(&self) -> Result<Url, InvalidSetting> {
        server_url(&self.api_url).map_err(InvalidSetting::at("stripe.api_url"))
    }

    /// Where files are uploaded: Stripe has a host for them, a stand-in answers everything at one.
    ///
    /// # Errors
    /// A URL that is none of a server.
    pub fn files_url(&self) -> Result<Url, InvalidSetting> {
        let api = self.api_url()?;
        let stripe = server_url(STRIPE_API).map_err(InvalidSetting::at("stripe.api_url"))?;
        match api == stripe {
            true => server_url(STRIPE_FILES).map_err(InvalidSetting::at("stripe.api_url")),
            false => Ok(api),
        }
    }
}

/// Paths are added to it, and whatever shows the configuration shows it: it holds neither a path nor a password.
fn server_url(text: &str) -> Result<Url, String> {
    const EXPECTED: &str = "expected scheme, host and port, as https://api.example.com:8443";
    let url = Url::parse(text).map_err(|why| format!("{EXPECTED}, got no URL: {why}"))?;
    let is_bare = url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    match (url.scheme(), url.host(), is_bare) {
        ("http" | "https", Some(_), true) => Ok(url),
        ("http" | "https", Some(_), false) => Err(format!("{EXPECTED}, got more than that")),
        (scheme, ..) => Err(format!("{EXPECTED}, got the scheme {scheme:?}")),
    }
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
    /// The key of Paddle's `custom_data` and of Stripe's `metadata` that names the address a purchase was made from: as it is, or its
    /// digest. Custom data can be set in the buyer's browser: what stands there is worth as much. None: it is not read.
    pub metadata_ip_key: Option<String>,
    /// The same of the device's id or fingerprint.
    pub metadata_device_key: Option<String>,
    /// What becomes of addresses and devices.
    pub origins: Origins,
    /// Connected accounts of Stripe's whose events count as the platform's own.
    pub stripe_accounts: Vec<String>,
    /// Set where the platform signs its account links: `<account>.<hex HMAC-SHA256(link_secret, account)>`.
    pub link_secret: Option<SecretString>,
    /// Decimal places of a credit in this deployment.
    pub credits_scale: u32,
}

impl Settings {
    /// As the configuration says. Every text is a valid key or account, so that nothing here can be wrong.
    pub fn new(
        mode: Mode,
        accounts: &AccountSettings,
        stripe: &StripeSettings,
        privacy: &PrivacySettings,
        credits_scale: u32,
    ) -> Self {
        Self {
            mode,
            custom_data_key: accounts.custom_data_key.clone(),
            metadata_price_key: accounts.metadata_price_key.clone(),
            metadata_quantity_key: accounts.metadata_quantity_key.clone(),
            metadata_ip_key: accounts.metadata_ip_key.clone(),
            metadata_device_key: accounts.metadata_device_key.clone(),
            origins: Origins::new(privacy),
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
            metadata_ip_key: None,
            metadata_device_key: None,
            origins: Origins::default(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_go_to_a_host_of_their_own_but_for_a_stand_in() {
        let check = |api_url: &str, api: &str, files: &str| {
            let settings = StripeSettings { api_url: api_url.to_owned(), ..StripeSettings::default() };
            let urls = (settings.api_url().unwrap(), settings.files_url().unwrap());
            assert_eq!((urls.0.as_str(), urls.1.as_str()), (api, files));
        };
        let files = "https://files.stripe.com/";
        check(&StripeSettings::default().api_url, "https://api.stripe.com/", files);
        check("https://api.stripe.com/", "https://api.stripe.com/", files);
        check("https://API.stripe.com:443", "https://api.stripe.com/", files);
        check("http://127.0.0.1:8081", "http://127.0.0.1:8081/", "http://127.0.0.1:8081/");
        check("http://sandbox:8081/", "http://sandbox:8081/", "http://sandbox:8081/");
    }

    #[test]
    fn a_url_is_that_of_a_server_and_nothing_more() {
        for wrong in [
            "",
            "api.stripe.com",
            "/v1",
            "ftp://api.stripe.com",
            "file:///etc",
            "https://user:hush@api.stripe.com",
            "https://api.stripe.com/v1",
            "https://api.stripe.com?key=hush",
            "https://api.stripe.com#hush",
        ] {
            let settings = StripeSettings { api_url: wrong.to_owned(), ..StripeSettings::default() };
            let why = settings.check().unwrap_err().to_string();
            assert!(why.starts_with("stripe.api_url: expected scheme, host and port"), "{wrong}: {why}");
            assert!(!why.contains("hush"), "{why}");
        }
    }

    #[test]
    fn a_key_is_shown_by_nothing() {
        let with =
            |key: &str| StripeSettings { api_key: Some(Masked::new(key)), ..StripeSettings::default() };
        let settings = with("rk_live_hush");
        settings.check().unwrap();
        assert_eq!(settings.authorization().unwrap().unwrap().expose_secret(), "Bearer rk_live_hush");
        let shown = format!(
            "{settings:?} {} {:?}",
            serde_json::to_string(&settings).unwrap(),
            settings.authorization()
        );
        assert!(!shown.contains("hush"), "{shown}");
        assert!(StripeSettings::default().authorization().unwrap().is_none());
        for wrong in ["", "hush\nhush", "rk live hush", "hüsh"] {
            let why = with(wrong).check().unwrap_err().to_string();
            assert!(why.starts_with("stripe.api_key: expected a key") && !why.contains("hush"), "{why}");
        }
    }
}
