//! The codes of dead letters that the gate gives.

pub const CONFLICT: &str = "conflict";
pub const FORBIDDEN: &str = "forbidden";
pub const MALFORMED: &str = "malformed";

pub const ALL: [&str; 3] = [CONFLICT, FORBIDDEN, MALFORMED];
