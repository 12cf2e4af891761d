//! Figures that several benchmarks tell, and what is said while they are measured.

use crate::output::progress::say_step;
use crate::session::Session;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize, Default)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    /// The load at which it was measured, in facts per second.
    pub at_events_per_second: f64,
}

#[derive(Serialize, Default)]
pub struct Memory {
    /// Greatest resident size of the fleet's processes together.
    pub bursar: u64,
    pub per_worker: BTreeMap<String, u64>,
}

pub fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Says on a terminal what is measured now.
pub fn progress(session: &Session, what: &str) {
    if !session.json {
        say_step(&format!("measuring: {what} ..."));
    }
}
