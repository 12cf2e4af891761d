//! What the settings of every crate are made of: durations as people write them, secrets, and what is said of a setting that is
//! wrong. A crate's own settings stand in its own `settings.rs`; `cli` reads the file and the environment.

use secrecy::SecretString;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt::Display;
use std::time::Duration;

/// What is wrong with a setting: its key, what was expected, and what came, unless that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSetting(String);

impl InvalidSetting {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Puts the key of a setting before what is wrong with it; for `map_err`.
    pub fn at<Why: Display>(key: impl Display) -> impl FnOnce(Why) -> Self {
        move |why| Self(format!("{key}: {why}"))
    }
}

/// Longer than any duration that is meant: a moment that is so much earlier or later than now still has a date.
const DURATION_MAX: Duration = Duration::from_secs(100 * 366 * 86_400);

/// Reads a duration such as `365d` or `12h`.
///
/// # Errors
/// The text is no duration, or one of more than 100 years.
pub fn duration(text: &str) -> Result<Duration, InvalidSetting> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= DURATION_MAX => Ok(duration),
        Ok(_) => Err(InvalidSetting(format!("expected a duration of at most 100 years, got {text:?}"))),
        Err(_) => Err(InvalidSetting(format!("expected a duration such as 365d or 12h, got {text:?}"))),
    }
}

/// A duration as [`duration`] reads it.
pub fn duration_text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

const MASK: &str = "***";

/// A secret. Whatever shows it, or the settings that it is part of, shows a mask.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Masked(pub SecretString);

impl Masked {
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }
}

impl Serialize for Masked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let check = |text: &str, expect: Result<u64, &str>| match (duration(text), expect) {
            (Ok(got), Ok(seconds)) => {
                assert_eq!(got, Duration::from_secs(seconds), "{text}");
                assert_eq!(duration(&duration_text(got)), Ok(got), "{text}");
            }
            (Err(why), Err(expect)) => assert_eq!(why.to_string(), expect),
            (got, _) => panic!("{text}: {got:?}"),
        };
        check("12h", Ok(43_200));
        check("1m 15s", Ok(75));
        check("100years", Ok(3_155_760_000));
        check("300000years", Err("expected a duration of at most 100 years, got \"300000years\""));
        check("long", Err("expected a duration such as 365d or 12h, got \"long\""));
        check("", Err("expected a duration such as 365d or 12h, got \"\""));
    }

    #[test]
    fn a_secret_is_shown_by_nothing() {
        let secret = Masked::new("hush");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
        assert!(!format!("{secret:?}").contains("hush"));
    }

    #[test]
    fn what_is_wrong_stands_after_its_key() {
        let wrong = duration("soon").map_err(InvalidSetting::at("alerts.oldest")).unwrap_err();
        let expect = "alerts.oldest: expected a duration such as 365d or 12h, got \"soon\"";
        assert_eq!(wrong.to_string(), expect);
    }
}
