//! What the translations of Stripe's objects have in common.

use super::currencies;
use crate::account_link;
use crate::fields::Field;
use crate::set_aside::SetAside;
use crate::settings::Settings;
use domain::fact::AccountLink;
use domain::{Money, PaymentId};
use time::OffsetDateTime;

/// As it stands in routes, ids and routing keys.
pub(super) const NAME: &str = "stripe";

/// What every translation of an object needs besides the object.
pub(super) struct EventContext<'a> {
    pub(super) settings: &'a Settings,
    pub(super) event_type: &'a str,
    /// That of the endpoint: a date, and since 2024-09 a name after it.
    pub(super) api_version: Option<&'a str>,
    pub(super) occurred_at: OffsetDateTime,
}

/// Metadata is set with the secret key: the platform's server states it.
pub(super) fn account(settings: &Settings, object: Field<'_>) -> Option<AccountLink> {
    let text = object.get("metadata").under(&settings.custom_data_key).account_text()?;
    account_link::from_server(settings.link_secret.as_ref(), &text)
}

/// The payment that a refund, dispute or warning is about: by its intent, else by its charge.
pub(super) fn payment_of(object: Field<'_>) -> Result<(PaymentId, Vec<PaymentId>), SetAside> {
    let charge = expandable_payment(object.get("charge"))?;
    let intent = expandable_payment(object.get("payment_intent"))?;
    let payment = intent
        .or_else(|| charge.clone())
        .ok_or_else(|| object.get("payment_intent").malformed("an id, here or in charge"))?;
    let aliases = others(&payment, [charge]);
    Ok((payment, aliases))
}

pub(super) fn expandable_payment(field: Field<'_>) -> Result<Option<PaymentId>, SetAside> {
    let id = field.expandable_id()?;
    id.map(|id| PaymentId::new(NAME, &id).map_err(|_| field.malformed("an id that is short enough")))
        .transpose()
}

pub(super) fn others<const N: usize>(payment: &PaymentId, ids: [Option<PaymentId>; N]) -> Vec<PaymentId> {
    ids.into_iter().flatten().filter(|id| id != payment).collect()
}

pub(super) fn money(object: Field<'_>, name: &'static str) -> Result<Money, SetAside> {
    let field = object.get(name);
    in_currency(object, field, field.minor_units_number()?)
}

pub(super) fn optional_money(object: Field<'_>, name: &'static str) -> Result<Option<Money>, SetAside> {
    if object.get(name).is_absent() { Ok(None) } else { money(object, name).map(Some) }
}

pub(super) fn in_currency(object: Field<'_>, field: Field<'_>, minor_units: i128) -> Result<Money, SetAside> {
    let currency = object.get("currency").currency()?;
    field.money(minor_units, currencies::exponent(currency), currency)
}

pub(super) fn is_captured(charge: Field<'_>) -> bool {
    charge.get("captured").boolean() == Some(true)
}
