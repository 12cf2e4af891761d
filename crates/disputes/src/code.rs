//! The codes of dead letters of this worker. Public names.

/// The fact names a dispute by an id that no case can have.
pub const INVALID_DISPUTE: &str = "invalid_dispute";

/// A fact that this worker does not read was put into its queue.
pub const NOT_READ: &str = "not_read";

pub const ALL: [&str; 3] = [facts::MALFORMED, INVALID_DISPUTE, NOT_READ];
