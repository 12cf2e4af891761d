//! Facts between workers: read from messages, stated durably, settled once by each of their readers; and the events of an
//! account, numbered and chained by the worker that emits them; and what operators did.
//!
//! Nothing here decides what a fact means: that is each worker's own.

pub mod audit;
pub mod conservation;
pub mod emit;
mod envelopes;
pub mod hand_over;
pub mod outcomes;
mod readers;
pub mod rights;
pub mod spool;
mod writer;

pub use envelopes::{MALFORMED, NotAFact, Sender, decode, encode, pack, read, read_one};
pub use readers::{Readers, handed_over, readers_known};
pub use writer::{FactWriter, NowhereDurable};
