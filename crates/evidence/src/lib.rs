//! The evidence pack of a disputed payment: what a bank, a processor or a court is shown.
//!
//! Whoever has the database fills a [`Pack`]; this crate makes of it one JSON document for machines and one PDF for people.
//! Pure: no clock, no database, no randomness, no files. The same pack gives the same bytes.

mod pack;

pub use pack::*;
