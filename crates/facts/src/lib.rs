//! Facts between workers: read from messages, stated durably, settled once by each of their readers; and the events of an
//! account, numbered and chained by whoever emits them.
//!
//! Nothing here decides what a fact means: that is each worker's own.

mod envelopes;
mod readers;
pub mod rights;
pub mod spool;
mod writer;

pub use envelopes::{MALFORMED, NotAFact, Sender, decode, encode, pack, read, read_one};
pub use readers::Readers;
pub use writer::{FactWriter, NowhereDurable};
