//! What of dead letters is configured.

use crate::alerts::{CREDITS, Thresholds};
use crate::retention::LetterRetention;
use domain::money::currency;
use domain::settings::{InvalidSetting, duration};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the worker is configured by.
#[derive(Debug, Clone)]
pub struct Settings {
    pub retention: LetterRetention,
    pub alerts: Thresholds,
}

/// `[dead_letters]`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, expecting = "the section [dead_letters]")]
pub struct DeadLetterSettings {
    /// Whether operators may change what a dead letter says.
    pub edit: bool,
}

/// `[alerts]`: from when on operators are alerted; each key is the name of its alert.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, expecting = "the section [alerts]")]
pub struct AlertSettings {
    /// More dead letters than this within a minute.
    pub dead_letters_inflow: u32,
    /// One that is open for longer.
    pub dead_letters_oldest: String,
    /// The queue of dead letters is not empty for longer.
    pub dead_letters_queue: String,
    /// So many letters of one replay died again.
    pub replay_failing: u32,
    /// More than this hangs on open dead letters, by currency, or `credits`.
    pub dead_letters_at_stake: BTreeMap<String, String>,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            dead_letters_inflow: 10,
            dead_letters_oldest: "1h".to_owned(),
            dead_letters_queue: "1m".to_owned(),
            replay_failing: 1,
            dead_letters_at_stake: BTreeMap::new(),
        }
    }
}

impl AlertSettings {
    /// # Errors
    /// The first setting that is wrong.
    pub fn thresholds(&self) -> Result<Thresholds, InvalidSetting> {
        let at = |key: &'static str| InvalidSetting::at(format!("alerts.{key}"));
        if self.replay_failing == 0 {
            return Err(InvalidSetting::new("alerts.replay_failing: expected 1 letter or more, got 0"));
        }
        Ok(Thresholds {
            inflow: self.dead_letters_inflow.into(),
            oldest: duration(&self.dead_letters_oldest).map_err(at("dead_letters_oldest"))?,
            queue: duration(&self.dead_letters_queue).map_err(at("dead_letters_queue"))?,
            replay_failing: self.replay_failing.into(),
            at_stake: self.at_stake().map_err(InvalidSetting::at("alerts.dead_letters_at_stake"))?,
        })
    }

    fn at_stake(&self) -> Result<BTreeMap<String, Decimal>, InvalidSetting> {
        self.dead_letters_at_stake.iter().map(|(unit, text)| at_stake(unit, text)).collect()
    }
}

/// How much of a currency, or of credits, may hang on open dead letters.
fn at_stake(unit: &str, text: &str) -> Result<(String, Decimal), InvalidSetting> {
    let unit = match unit {
        CREDITS => unit,
        code => {
            let known = currency(code);
            known.map_err(InvalidSetting::at(format!("expected a currency or {CREDITS}")))?.code()
        }
    };
    match text.parse() {
        Ok(above) if above >= Decimal::ZERO => Ok((unit.to_owned(), above)),
        Ok(_) | Err(_) => {
            Err(InvalidSetting::new(format!("{unit}: expected a decimal of zero or more, got {text:?}")))
        }
    }
}

impl LetterRetention {
    /// Reads the dead letters' two keys of `[retention]`.
    ///
    /// # Errors
    /// One is no duration.
    pub fn read(resolved: &str, discarded: &str) -> Result<Self, InvalidSetting> {
        let at = |key: &'static str| InvalidSetting::at(format!("retention.{key}"));
        Ok(Self {
            resolved: duration(resolved).map_err(at("resolved_dead_letters"))?,
            discarded: duration(discarded).map_err(at("discarded_dead_letters"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        let check = |settings: AlertSettings, expect: &str| {
            let why = settings.thresholds().unwrap_err().to_string();
            assert!(why.contains(expect), "{why}");
        };
        let at_stake = |unit: &str, text: &str| AlertSettings {
            dead_letters_at_stake: [(unit.to_owned(), text.to_owned())].into(),
            ..AlertSettings::default()
        };
        check(AlertSettings { replay_failing: 0, ..AlertSettings::default() }, "alerts.replay_failing");
        check(
            AlertSettings { dead_letters_queue: "soon".to_owned(), ..AlertSettings::default() },
            "alerts.dead_letters_queue: expected a duration",
        );
        check(at_stake("EUR", "-1"), "alerts.dead_letters_at_stake: EUR: expected a decimal");
        check(at_stake("shells", "1"), "alerts.dead_letters_at_stake: expected a currency or credits: ");
        assert!(at_stake("eur", "1").thresholds().unwrap().at_stake.contains_key("EUR"));
    }
}
