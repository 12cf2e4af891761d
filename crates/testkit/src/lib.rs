//! What the tests stand on: a database and a broker namespace per test, workers that run until something holds, a
//! subscriber of events, a line that can be cut, workers that die, the binary as a child process, and servers that a test
//! may break.
//!
//! A development dependency, nothing of it is in the binary. It waits for conditions with a deadline and never sleeps
//! for a time that "should do"; whatever a test made is removed when it ends, also when it fails.

mod binary;
pub mod facts;
mod messages;
mod mortal;
pub mod raw;
mod relay;
mod servers;
mod site;
mod wait;

pub use binary::{Addresses, Bursar, Settings};
pub use messages::{DeadLetter, Events, Post, ReceivedEvent};
pub use mortal::{DeathStep, Mortal};
pub use raw::RawPost;
pub use relay::Relay;
pub use servers::TestServers;
pub use site::{Running, Site, run, run_within, run_without_site};
pub use wait::{DEADLINE, eventually, within};
