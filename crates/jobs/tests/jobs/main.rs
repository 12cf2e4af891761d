//! Jobs on real servers, against an outside that answers late, breaks off, answers twice and dies.

#![allow(clippy::unwrap_used, reason = "what fails here is a failed test")]

mod http;
mod letters;
mod limits;
mod outside;
mod processes;
mod rules;
mod seeded;
mod world;
