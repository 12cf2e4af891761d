//! Who may state which facts. Both doors ask here: the ingester for the bearer of a token, the gate for a publisher.

use domain::settings::InvalidSetting;
use domain::{Envelope, FactKind};
use processors::{Sources, Speaker};

/// Why a publisher may not state a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// Facts about money come from verified webhooks alone.
    Money(FactKind),
    /// It is none of the kinds that this speaker may state.
    Kind(FactKind),
    /// Its source belongs to another publisher, or is one that no platform may use.
    Source(String),
}

/// Checks a fact that a platform's service states: that it is not about money, that its kind is one of those which `speaker`
/// may state, and that its source is one which it may use.
///
/// # Errors
/// [`Denied`]: the rule that the fact breaks.
pub fn check(
    envelope: &Envelope,
    may_state: impl FnOnce(FactKind) -> bool,
    speaker: Option<&Speaker>,
    sources: &Sources,
) -> Result<(), Denied> {
    let kind = envelope.fact.kind();
    if kind.is_money() {
        return Err(Denied::Money(kind));
    }
    if !may_state(kind) {
        return Err(Denied::Kind(kind));
    }
    sources.check(speaker, &envelope.cause.source).map_err(Denied::Source)
}

/// The first of these kinds that no publisher can be given the right to state.
pub fn money_among(kinds: &[FactKind]) -> Option<FactKind> {
    kinds.iter().copied().find(|kind| kind.is_money())
}

/// Reads the value of a key `facts`: names of kinds.
///
/// # Errors
/// One names no kind.
pub fn kinds(names: &[String]) -> Result<Vec<FactKind>, InvalidSetting> {
    let known = || FactKind::ALL.map(FactKind::as_str).join(", ");
    let unknown = |name: &str| InvalidSetting::new(format!("expected facts of {}, got {name:?}", known()));
    names.iter().map(|name| FactKind::parse(name).ok_or_else(|| unknown(name))).collect()
}
