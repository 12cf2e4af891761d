//! What this process takes of the machine, under the names that Prometheus's own clients use. Read from `/proc`, as they do:
//! where there is none (macOS) nothing is said.

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use std::fs;

/// What the process takes now.
#[derive(Debug, Clone, Copy, PartialEq)]
struct TakenOfMachine {
    cpu_seconds: f64,
    resident_bytes: f64,
    virtual_bytes: f64,
    threads: f64,
    /// Since the epoch.
    started_at: f64,
}

/// Measures this process. A counter of the recorder's holds whole numbers, so seconds are gauges, and grow all the same.
pub fn measure() {
    if let Some(taken) = taken() {
        metrics::gauge!("process_cpu_seconds_total").set(taken.cpu_seconds);
        metrics::gauge!("process_resident_memory_bytes").set(taken.resident_bytes);
        metrics::gauge!("process_virtual_memory_bytes").set(taken.virtual_bytes);
        metrics::gauge!("process_threads").set(taken.threads);
        metrics::gauge!("process_start_time_seconds").set(taken.started_at);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them reads the directory.
        metrics::gauge!("process_open_fds").set(open.count().saturating_sub(1) as f64);
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        metrics::gauge!("process_max_fds").set(most as f64);
    }
}

pub fn describe() {
    use metrics::{Unit, describe_gauge};
    describe_gauge!(
        "process_cpu_seconds_total",
        Unit::Seconds,
        "Processor time, the system's for it and its own"
    );
    describe_gauge!("process_resident_memory_bytes", Unit::Bytes, "Resident memory");
    describe_gauge!("process_virtual_memory_bytes", Unit::Bytes, "Virtual memory");
    describe_gauge!("process_threads", "Threads");
    describe_gauge!("process_start_time_seconds", Unit::Seconds, "When it started, since 1970");
    describe_gauge!("process_open_fds", "Files and connections that it has open");
    describe_gauge!("process_max_fds", "As many as it may open");
}

fn taken() -> Option<TakenOfMachine> {
    let booted = fs::read_to_string("/proc/stat").ok()?;
    let booted = booted.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    read(&fs::read_to_string("/proc/self/stat").ok()?, booted, clock_ticks_per_second(), page_size())
}

/// proc(5): the name of the process stands in brackets and may hold any; the fields are counted from behind it.
#[expect(clippy::float_arithmetic, reason = "seconds and bytes, never money")]
fn read(stat: &str, booted: u64, ticks: u64, page: usize) -> Option<TakenOfMachine> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // The first behind the name is field 3.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok().map(|value| value as f64);
    let seconds = |value: f64| value / ticks as f64;
    Some(TakenOfMachine {
        cpu_seconds: seconds(field(14)? + field(15)?),
        resident_bytes: field(24)? * page as f64,
        virtual_bytes: field(23)?,
        threads: field(20)?,
        started_at: booted as f64 + seconds(field(22)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_counted_from_behind_the_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 9 0 0 0 250 50 0 0 20 0 12 0 4200 104857600 300 18446744073709551615 1 1";
        let expect = TakenOfMachine {
            cpu_seconds: 3.0,
            resident_bytes: 1_228_800.0,
            virtual_bytes: 104_857_600.0,
            threads: 12.0,
            started_at: 1_042.0,
        };
        assert_eq!(read(stat, 1_000, 100, 4_096), Some(expect));
        assert_eq!(read("7 (a) S 1", 1_000, 100, 4_096), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_takes_something() {
        let taken = taken().expect("there is /proc");
        assert!(taken.resident_bytes > 100_000.0 && taken.threads >= 1.0, "{taken:?}");
        let now = time::OffsetDateTime::now_utc().unix_timestamp() as f64;
        assert!((now - 3_600.0..=now + 2.0).contains(&taken.started_at), "{taken:?}");
    }
}
