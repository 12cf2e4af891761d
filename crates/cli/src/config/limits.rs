//! `[limits]`: what one process takes of the machine and of Postgres.

use domain::settings::InvalidSetting;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, expecting = "the section [limits]")]
pub struct Limits {
    /// Consumers of each queue in one process.
    pub lanes: usize,
    /// Connections of one process to Postgres.
    pub database_connections: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { lanes: 2, database_connections: 12 }
    }
}

impl Limits {
    /// # Errors
    /// Too many lanes, or too few connections for them.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        // Four queues whose lanes each hold a connection for a batch, and what goes on beside them.
        let needed = 4 * self.lanes + 2;
        if !(1..=16).contains(&self.lanes) || (self.database_connections as usize) < needed {
            return Err(InvalidSetting::new(format!(
                "limits: expected 1 to 16 lanes, and for {} of them at least {needed} database_connections",
                self.lanes
            )));
        }
        Ok(())
    }
}
