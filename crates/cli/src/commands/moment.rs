//! Moments as they are said on the command line.

use crate::config::duration;
use domain::calendar::in_utc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Reads a moment from the command line.
pub fn said_moment(text: &str) -> Result<OffsetDateTime, String> {
    let at = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| format!("expected a time such as 2026-11-20T10:00:00Z, got {text:?}"))?;
    in_utc(at).map_err(|why| format!("{why}: {text:?}"))
}

/// Reads a moment, or how long ago it was.
pub fn said_moment_or_ago(text: &str) -> Result<OffsetDateTime, String> {
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        return in_utc(at).map_err(|why| format!("{why}: {text:?}"));
    }
    let ago = text.trim().trim_end_matches("ago").trim();
    duration(ago)
        .ok()
        .and_then(|ago| OffsetDateTime::now_utc().checked_sub(ago.try_into().ok()?))
        .ok_or_else(|| format!("expected a time such as 2026-11-20T10:00:00Z or 2h, got {text:?}"))
}

/// Reads a moment, or how long it is until then.
pub fn said_moment_or_ahead(text: &str) -> Result<OffsetDateTime, String> {
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        return in_utc(at).map_err(|why| format!("{why}: {text:?}"));
    }
    duration(text)
        .ok()
        .and_then(|ahead| OffsetDateTime::now_utc().checked_add(ahead.try_into().ok()?))
        .ok_or_else(|| format!("expected a time such as 2026-11-20T10:00:00Z or 3d, got {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_rfc_3339_or_refused_with_an_example() {
        assert!(said_moment("2026-11-20T10:00:00Z").is_ok());
        assert!(said_moment_or_ahead("2026-11-20T10:00:00Z").is_ok() && said_moment_or_ahead("3d").is_ok());
        assert!(said_moment_or_ahead("soon").unwrap_err().contains("3d"));
        assert!(said_moment("yesterday").unwrap_err().contains("2026-11-20T10:00:00Z"));
    }
}
