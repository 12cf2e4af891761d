//! Limits that facts have in common.

use crate::money::Credits;

/// References, reasons and descriptions: long enough for any id or sentence, short enough to index.
pub const TEXT_LENGTH_MAX: usize = 1000;

/// Credits that somebody gives: more than zero, within the deployment's scale.
pub(super) fn positive(field: &str, credits: Credits, scale: u32) -> Result<(), String> {
    if !credits.is_positive() {
        return Err(format!("{field}: expected more than zero credits, got {credits}"));
    }
    in_scale(field, credits, scale)
}

pub(super) fn in_scale(field: &str, credits: Credits, scale: u32) -> Result<(), String> {
    credits.within(scale).map(drop).map_err(|error| format!("{field}: {error}"))
}

/// A text that is no longer than it may be, and that Postgres can store.
pub(super) fn short(field: &str, text: &str) -> Result<(), String> {
    if text.len() > TEXT_LENGTH_MAX {
        return Err(format!("{field}: expected at most {TEXT_LENGTH_MAX} bytes, got {}", text.len()));
    }
    // Postgres stores no such character in a text.
    if text.contains('\0') {
        return Err(format!("{field}: expected text, got a NUL character"));
    }
    Ok(())
}

/// As [`short`], of a text that may be missing.
pub(super) fn short_if_any(field: &str, text: Option<&str>) -> Result<(), String> {
    text.map_or(Ok(()), |text| short(field, text))
}

/// What an operator states has a reason and a name.
pub(super) fn by_operator(reason: &str, by: &str) -> Result<(), String> {
    if reason.trim().is_empty() || by.trim().is_empty() {
        return Err("data: expected a reason and the operator's name, got an empty text".to_owned());
    }
    short("data.reason", reason)?;
    short("data.by", by)
}
