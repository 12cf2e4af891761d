//! What Bursar knows about money, credits and facts, as pure values and functions.
//!
//! Nothing in this crate reads a clock, draws a random number or touches a database or a network: the same
//! input gives the same output, so every decision can be tested, replayed and predicted. Invalid values
//! cannot be built: what comes from outside is parsed at the edge by the constructors here.

pub mod calendar;
pub mod catalog;
pub mod dispute;
pub mod economics;
pub mod envelope;
pub mod event;
pub mod fact;
pub mod ids;
pub mod journal;
pub mod ledger;
pub mod lot;
pub mod money;
mod outcome;
pub mod record;
pub mod rendering;
pub mod settings;

pub use envelope::{Cause, Envelope, RawDelivery};
pub use event::{Event, EventKind};
pub use fact::{Fact, FactKind};
pub use ids::{AccountId, CaseId, CustomerId, PaymentId, ProcessorName};
pub use money::{Credits, Money};
pub use outcome::{Meaning, Outcome};
