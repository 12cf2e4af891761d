//! The codes of dead letters that the gate gives.

pub const CONFLICT: &str = "conflict";
pub const FORBIDDEN: &str = "forbidden";
pub use facts::MALFORMED;

pub const ALL: [&str; 3] = [CONFLICT, FORBIDDEN, MALFORMED];
