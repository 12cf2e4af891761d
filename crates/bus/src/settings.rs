//! What of the loop is configured.

use crate::topology::Ladder;
use domain::settings::{InvalidSetting, duration};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `[retries]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, expecting = "the section [retries]")]
pub struct RetrySettings {
    /// How long a message rests before each further attempt, where it failed for a reason that nobody foresaw.
    pub delays: Vec<String>,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self { delays: ["1s", "10s", "1m"].map(str::to_owned).to_vec() }
    }
}

impl RetrySettings {
    /// The delays as a ladder.
    ///
    /// # Errors
    /// One is no duration, or they are none that [`Ladder::new`] takes.
    pub fn ladder(&self) -> Result<Ladder, InvalidSetting> {
        Ladder::new(&self.read()?).map_err(InvalidSetting::at("retries.delays"))
    }

    /// How long a message rests at most before a worker gives up on it.
    ///
    /// # Errors
    /// One of the delays is no duration.
    pub fn rests(&self) -> Result<Duration, InvalidSetting> {
        Ok(self.read()?.into_iter().sum())
    }

    fn read(&self) -> Result<Vec<Duration>, InvalidSetting> {
        let delays = self.delays.iter().map(|text| duration(text));
        delays.collect::<Result<_, _>>().map_err(InvalidSetting::at("retries.delays"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_delays_are_the_default_ladder() {
        let settings = RetrySettings::default();
        assert_eq!(settings.ladder(), Ok(Ladder::default()));
        assert_eq!(settings.rests(), Ok(Duration::from_secs(71)));
    }

    #[test]
    fn delays_that_are_wrong_are_named_with_their_key() {
        let check = |delays: &[&str], expect: &str| {
            let delays = delays.iter().map(|text| (*text).to_owned()).collect();
            let why = RetrySettings { delays }.ladder().unwrap_err().to_string();
            assert!(why.starts_with(expect), "{why}");
        };
        check(&["1s", "soon"], "retries.delays: expected a duration such as");
        check(&["10s", "1s"], "retries.delays: expected 1 to 10 growing delays");
        check(&[], "retries.delays: expected 1 to 10 growing delays");
    }
}
