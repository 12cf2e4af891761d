//! The fleet: commands, configuration and wiring, behind the binary `bursar`. A library only so that tests, and whatever else
//! serves operators, know the same list of workers.

mod address;
mod admin;
mod api;
pub mod commands;
mod config;
#[cfg(test)]
mod deployed;
mod descriptors;
mod fleet;
mod labels;
mod masked;
pub mod misuse;
pub mod observe;
mod output;
mod plan;
mod process;
mod scratch;
mod servers;
mod session;
mod subscriber;
pub mod visible;
pub mod workers;
