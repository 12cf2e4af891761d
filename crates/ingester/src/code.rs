//! The codes of dead letters that the ingester gives: why it takes a delivery by no door.

pub const MALFORMED: &str = "malformed";
pub const UNVERIFIED: &str = "unverified";
pub const FORBIDDEN: &str = "forbidden";
pub const NOWHERE_DURABLE: &str = "nowhere_durable";

pub const ALL: [&str; 4] = [MALFORMED, UNVERIFIED, FORBIDDEN, NOWHERE_DURABLE];
