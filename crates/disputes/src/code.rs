//! The codes of dead letters of this worker. Public names.

/// The fact names a dispute by an id that no case can have.
pub const INVALID_DISPUTE: &str = "invalid_dispute";

/// A fact that this worker does not read was put into its queue.
pub const NOT_READ: &str = "not_read";

/// The processor takes no such evidence, or none any more.
pub const EVIDENCE_REFUSED: &str = "evidence_refused";

/// The processor's key is not known there, or may not do this.
pub const NOT_PERMITTED: &str = "not_permitted";

pub const ALL: [&str; 5] = [facts::MALFORMED, INVALID_DISPUTE, NOT_READ, EVIDENCE_REFUSED, NOT_PERMITTED];
