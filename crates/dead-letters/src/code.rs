//! The codes of letters that nobody of ours wrote.

/// It says nothing of its death: somebody put it there.
pub const UNEXPLAINED: &str = "unexplained";

pub const ALL: [&str; 1] = [UNEXPLAINED];
