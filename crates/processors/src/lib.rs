//! Payment processors: is a delivery genuine, and what does it say in Bursar's own words.
//!
//! Both are pure functions of bytes, headers, settings and the time of arrival: nothing here reads a clock, a network
//! or a file. A translation acts on nothing; what it does not understand it hands on as an `unrecognised` fact, so
//! that a delivery whose signature was good is never lost and never retried for days.
//!
//! Adding a processor: its folder (`check_headers`, `verify`, `translate`), one line in [`ALL`], payloads beside `payloads/*`.

mod account_link;
pub mod api;
mod delivery;
mod fields;
mod generic;
mod json;
mod list;
mod origin;
mod paddle;
mod processor;
mod refused;
mod set_aside;
mod settings;
mod signature;
mod sources;
pub mod stripe;
#[cfg(test)]
mod tests;

pub use delivery::further_id;
pub use list::{ALL, find};
pub use origin::{Origins, PrivacySettings};
pub use processor::{CheckHeaders, Processor, Sign, Translate, Verify};
pub use refused::{Malformed, Refused, TOLERANCE};
pub use settings::{AccountSettings, Mode, Settings, StripeSettings};
pub use sources::{InvalidPattern, Overlap, SourcePattern, Sources, Speaker, is_reserved_source};
