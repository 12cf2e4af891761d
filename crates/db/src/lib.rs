//! Postgres: the pools, the migrations, the transaction of a batch, the outbox and the spool.
//!
//! SQL stands here only for what the whole fleet shares; a worker's own is in its `store.rs`. A function takes the
//! connection it works on; none opens its own transaction. Whether an error will pass is decided by its SQLSTATE.
//!
//! | to | see |
//! | --- | --- |
//! | connect, and follow the database to another host | [`Hosts`], [`worker_pool`], `follow`, `renewal` |
//! | work in the transaction of a batch | [`Work`] |
//! | store events until they are published | [`outbox`], [`chain`] |
//! | store messages that RabbitMQ does not take now | [`spool`] |
//! | bring the tables to what a version needs, and grant rights | [`migrate`], [`roles`] |
//! | decide what an error means | [`Error`], `sqlstate` |

pub mod chain;
mod error;
mod event;
mod follow;
mod hosts;
mod migrations;
pub mod outbox;
mod patience;
mod pool;
mod pools;
pub mod processes;
mod renewal;
pub mod roles;
mod sessions;
pub mod spool;
mod sqlstate;
pub mod standbys;
pub mod suspects;
mod urls;
mod work;
mod writable;

pub use error::{Doing, Error};
pub use follow::unless_moved;
pub use hosts::{Hosts, place};
pub use migrations::{MIGRATIONS, is_ready, migrate};
pub use patience::{answers, within};
pub use pool::Pool;
pub use pools::{pool, worker_pool};
pub use sessions::expect_sessions;
pub use sqlx::PgConnection;
pub use urls::{ServerUrl, whole_urls};
pub use work::Work;
