//! The evidence pack of a disputed payment: what a bank, a processor or a court is shown.
//!
//! Whoever has the database fills a [`Pack`]; this crate makes of it one JSON document for machines ([`Pack::to_json`]), one PDF for
//! people ([`Pack::to_pdf`]), what it has of Visa's Compelling Evidence 3.0 ([`CompellingEvidence::of`]) and the fields of
//! Stripe's evidence API ([`Pack::stripe_evidence`]). Pure: no clock, no database, no randomness, no files. The same pack gives
//! the same bytes.

mod compelling;
mod document;
mod pack;
mod pdf;
mod stripe;
#[cfg(test)]
mod tests;
mod words;

pub use compelling::{CompellingEvidence, Requirement, State};
pub use document::SCHEMA;
pub use pack::*;
pub use pdf::{BYTES_MAX, PAGES_MAX, Pdf, PdfError};
pub use stripe::{
    FILES_BYTES_MAX, StripeError, StripeEvidence, StripeFile, StripeText, TEXT_CHARACTERS_MAX,
    TEXTS_CHARACTERS_MAX,
};
