//! Names of the headers that the fleet sets. The broker's own (`x-death` and its kin) are never copied to a new message,
//! and a header that begins with [`OWN`] is read only where the fleet alone can write.

pub const TRACEPARENT: &str = "traceparent";
/// When a gateway received a raw delivery: Unix seconds.
pub const RECEIVED_AT: &str = "received_at";

// What a job that was given up is about, see `jobs::JobSubject`: an account, a payment, money as facts have it, in JSON.
pub const ABOUT_ACCOUNT: &str = "about-account";
pub const ABOUT_PAYMENT: &str = "about-payment";
pub const ABOUT_MONEY: &str = "about-money";

// What the broker says of a message that it gave up on itself.
pub(crate) const DEATH_QUEUE: &str = "x-death-queue";
pub(crate) const DEATH_REASON: &str = "x-death-reason";
pub(crate) const DEATH_EXCHANGE: &str = "x-death-exchange";
pub(crate) const DEATH_ROUTING_KEY: &str = "x-death-routing-key";

pub const OWN: &str = "bursar-";
// Of a message that is put back into its queue, and of a dead letter: how it first came, and what was tried since.
pub const EXCHANGE: &str = "bursar-exchange";
pub const ROUTING_KEY: &str = "bursar-routing-key";
pub const USER: &str = "bursar-user";
/// When it first failed: RFC 3339.
pub const FIRST_FAILED_AT: &str = "bursar-first-failed-at";
/// Every attempt that failed: JSON, see [`Attempt`](crate::Attempt).
pub const ATTEMPTS: &str = "bursar-attempts";
pub const REPLAY: &str = "bursar-replay";
pub const LETTER: &str = "bursar-letter";
// Of a dead letter alone.
pub const DEAD_WORKER: &str = "bursar-worker";
/// The queue it lay in, without the namespace.
pub const DEAD_QUEUE: &str = "bursar-queue";
pub const DEAD_CODE: &str = "bursar-code";
pub const DEAD_REASON: &str = "bursar-reason";
/// RFC 3339.
pub const DEAD_AT: &str = "bursar-dead-at";
/// How many bytes at the beginning of the body hold the properties that cannot be read, see
/// [`UnreadableProperties`](crate::UnreadableProperties).
pub const UNREADABLE: &str = "bursar-unreadable";
