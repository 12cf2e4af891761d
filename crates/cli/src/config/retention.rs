//! `[retention]`: one section for people, who ask how long anything is kept; each key is its worker's, who reads it.

use domain::settings::InvalidSetting;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, expecting = "the section [retention]")]
pub struct RetentionSettings {
    /// How long the bodies of webhooks are kept; facts and journal stay for good.
    pub raw_deliveries: String,
    /// How long what strangers wrote into facts is kept; for good where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fact_texts: Option<String>,
    /// How long dead letters are kept once they are resolved, or went on as another letter.
    pub resolved_dead_letters: String,
    /// How long discarded dead letters are kept, and can be taken back. Open ones are kept for good.
    pub discarded_dead_letters: String,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self {
            raw_deliveries: "90d".to_owned(),
            fact_texts: None,
            resolved_dead_letters: "30d".to_owned(),
            discarded_dead_letters: "90d".to_owned(),
        }
    }
}

impl RetentionSettings {
    /// # Errors
    /// One of the gate's keys is no duration.
    pub fn of_gate(&self) -> Result<gate::Retention, InvalidSetting> {
        gate::Retention::read(&self.raw_deliveries, self.fact_texts.as_deref())
    }

    /// # Errors
    /// One of the dead letters' keys is no duration.
    pub fn of_dead_letters(&self) -> Result<dead_letters::LetterRetention, InvalidSetting> {
        dead_letters::LetterRetention::read(&self.resolved_dead_letters, &self.discarded_dead_letters)
    }
}
