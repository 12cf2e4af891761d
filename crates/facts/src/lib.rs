//! Facts between workers: read from messages, stated durably, settled once by each of their readers; and the events of an
//! account, numbered and chained by whoever emits them.
//!
//! Nothing here decides what a fact means: that is each worker's own.

pub mod conservation;
pub mod emit;
pub mod outcomes;
mod readers;

pub use readers::{Readers, handed_over, readers_known};
