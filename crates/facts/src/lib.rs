//! Facts between workers: read from messages, stated durably, settled once by each of their readers; and the events of an
//! account, numbered and chained by whoever emits them.
//!
//! Nothing here decides what a fact means: that is each worker's own.

mod readers;

pub use readers::Readers;
