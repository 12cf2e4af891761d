//! What the translations of Paddle's entities have in common.

use super::currencies;
use crate::account_link;
use crate::fields::Field;
use crate::set_aside::SetAside;
use crate::settings::Settings;
use domain::Money;
use domain::fact::AccountLink;

/// As it stands in routes, ids and routing keys.
pub(super) const NAME: &str = "paddle";

/// Custom data can be set in the buyer's browser.
pub(super) fn account(settings: &Settings, data: Field<'_>) -> Option<AccountLink> {
    let text = data.get("custom_data").under(&settings.custom_data_key).account_text()?;
    account_link::from_browser(settings.link_secret.as_ref(), &text)
}

/// Amounts come in the lowest denomination of the entity's currency. Payout totals may be in another currency and are
/// never read.
pub(super) fn money(data: Field<'_>, field: Field<'_>, minor_units: i128) -> Result<Money, SetAside> {
    let currency = data.get("currency_code").currency()?;
    field.money(minor_units, currencies::exponent(currency), currency)
}
