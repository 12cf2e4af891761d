//! The floor that workers stand on: the type of the list of workers, scheduled passes, durable calls to the outside, alerts
//! that are raised once, and the consumer of a queue as the fleet runs it and a plan asks it.
//!
//! Architecture invariants:
//! - Nothing here knows a worker. What is particular to one is a type or a function that it hands in.
//! - No transaction is open while the outside is called.

mod consumer;
mod effects;
pub mod http;
mod job;
pub mod pass;
mod rebuild;
pub mod watch;
mod worker;

pub use consumer::{Consumer, Consumes, ForeseenBy, NamedFact, PostedBy, TakenItem, Trouble};
pub use effects::{BalanceChange, EntryView, Posted, TransactionView};
pub use facts::conservation::Culprit;
pub use job::{
    Asked, CallAttempt, Called, Delay, ErasedJobs, Foreseen, Job, JobErasure, JobLimits, JobServers,
    JobState, JobSubject, JobVerdict, KeptFor, Kinds, NewJob, Owner, PutBack, Returning, RunnerPace,
    Scheduled, SettledAnswer, Status, code, declare_failed, forget, measure, purge, run, schedule,
    schedule_all, schedule_at, status,
};
pub use pass::{Found, Pass};
pub use rebuild::{ComparisonSpec, Rebuilds};
pub use worker::{CheckSpec, Checked, Floor, Gauge, Gauges, Member, Needs, WorkerSpec};
