//! The one list of processors.

use crate::processor::Processor;
use crate::{generic, paddle, stripe};

/// Every processor there is.
pub const ALL: [&Processor; 3] = [&paddle::PROCESSOR, &stripe::PROCESSOR, &generic::PROCESSOR];

/// The processor of this name; `None` if there is none.
pub fn find(name: &str) -> Option<&'static Processor> {
    ALL.into_iter().find(|processor| processor.name == name)
}
