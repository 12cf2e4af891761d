//! How many descriptors the process may open, and who may have them: the front door takes what the others do not need, so
//! that it can be full and the fleet still reaches its servers and answers on its admin address.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections to RabbitMQ with those that are being made anew, logs, the runtime's own, and connections that are about to
/// close and do not count any more.
const OTHERS: u64 = 160;

/// A front door is open, however few descriptors there are.
const FRONT_DOOR_MIN: usize = 16;

/// The soft limit becomes the hard one: the soft one is low for programs that ask by `select`, which none here does.
/// Returns what is allowed now; none is without limit.
pub fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, ?current, "the limit of open files stays as it is");
            current
        }
    }
}

/// What is left to the front door of those it is configured to have.
pub fn for_front_door(wanted: usize, allowed: Option<u64>, database: u32, admin: usize) -> usize {
    let Some(allowed) = allowed else { return wanted };
    // Two pools: that of the workers, and that of the doors and commands.
    let others = OTHERS + 2 * u64::from(database) + admin as u64;
    let left = usize::try_from(allowed.saturating_sub(others)).unwrap_or(usize::MAX).max(FRONT_DOOR_MIN);
    if left < wanted {
        tracing::warn!(
            wanted,
            connections = left,
            open_files = allowed,
            "the front door takes fewer connections than http.connections: raise the limit of open files"
        );
    }
    wanted.min(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_door_leaves_descriptors_to_the_others() {
        assert_eq!(for_front_door(2048, None, 12, 64), 2048);
        assert_eq!(for_front_door(2048, Some(20_000), 12, 64), 2048);
        assert_eq!(for_front_door(2048, Some(1024), 12, 64), 776);
        assert_eq!(for_front_door(2048, Some(64), 12, 64), FRONT_DOOR_MIN);
        assert_eq!(for_front_door(8, Some(64), 12, 64), 8);
    }
}
