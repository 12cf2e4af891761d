//! What a worker does besides reading its queue. Today: durable calls to the outside, see [`job`].
//!
//! Architecture invariants:
//! - Nothing here knows a worker. What is particular to one is a type that it hands in.
//! - No transaction is open while the outside is called.

pub mod http;
mod job;

pub use job::{
    Asked, Attempt, Called, Foreseen, Job, KeptFor, Kinds, Limits, Next, Owner, Pace, PutBack, Returning,
    Scheduled, Servers, Settled, State, Status, Verdict, code, declare_failed, measure, purge, run, schedule,
    schedule_at, status,
};
