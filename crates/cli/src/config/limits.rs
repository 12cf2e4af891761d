//! `[limits]`: what one process takes of the machine and of Postgres.

use crate::workers::QUEUES_WITH_DATABASE;
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

/// Where none are set.
const LANES: usize = 2;

/// What goes on beside the lanes.
const BESIDE_LANES: usize = 2;

/// Two more than are needed, so that passes and probes do not wait for each other.
const CONNECTIONS: usize = needed(LANES) + 2;

/// The fewest connections for so many lanes: each lane of a queue holds one for its batch.
const fn needed(lanes: usize) -> usize {
    QUEUES_WITH_DATABASE * lanes + BESIDE_LANES
}

impl Default for Limits {
    fn default() -> Self {
        Self { lanes: LANES, database_connections: CONNECTIONS as u32 }
    }
}

impl Limits {
    /// # Errors
    /// Too many lanes, or too few connections for them.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let needed = needed(self.lanes);
        if !(1..=16).contains(&self.lanes) || (self.database_connections as usize) < needed {
            return Err(InvalidSetting::new(format!(
                "limits: expected 1 to 16 lanes, and for {} of them at least {needed} database_connections",
                self.lanes
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers;
    use jobs::Needs;

    #[test]
    fn each_lane_of_each_queue_that_is_settled_in_postgres_has_its_connection() {
        let of_database = workers::ALL.iter().filter(|worker| worker.spec.needs == Needs::Database);
        let queues: usize = of_database.map(|worker| worker.spec.queues.len()).sum();
        for lanes in 1..=16 {
            let enough = (queues * lanes + 2) as u32;
            assert!(Limits { lanes, database_connections: enough }.check().is_ok());
            assert!(Limits { lanes, database_connections: enough - 1 }.check().is_err());
        }
        assert!(Limits { lanes: 17, database_connections: 1000 }.check().is_err());
        assert!(Limits { lanes: 0, database_connections: 1000 }.check().is_err());
        assert!(Limits::default().check().is_ok());
    }
}
