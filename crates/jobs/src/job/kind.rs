//! The kinds of jobs that one worker owns.

use super::attempt::{CarriedOut, OwnedJob};
use super::servers::JobServers;
use super::store::TakenJob;
use super::{Job, JobLimits, JobSubject, Owner};
use futures_util::future::BoxFuture;
use std::marker::PhantomData;
use std::sync::Arc;
use tokio::time::Instant;

/// Kinds of jobs with their handlers. Clones are the same.
pub struct Kinds<O> {
    kinds: Vec<Arc<dyn JobKind>>,
    owner: PhantomData<fn() -> O>,
}

impl<O> Clone for Kinds<O> {
    fn clone(&self) -> Self {
        Self { kinds: self.kinds.clone(), owner: PhantomData }
    }
}

impl<O: Owner> Default for Kinds<O> {
    fn default() -> Self {
        Self { kinds: Vec::new(), owner: PhantomData }
    }
}

impl<O: Owner> Kinds<O> {
    /// # Errors
    /// Limits that cannot hold, or a kind that is there already.
    pub fn with<J: Job>(mut self, job: J) -> Result<Self, String> {
        job.limits().check()?;
        if self.find(J::KIND).is_some() {
            return Err(format!("expected each kind of jobs once, got {:?} twice", J::KIND));
        }
        self.kinds.push(Arc::new(OwnedJob { job, worker: O::WORKER, codes: O::CODES }));
        Ok(self)
    }

    pub fn names(&self) -> Vec<&'static str> {
        self.kinds.iter().map(|kind| kind.name()).collect()
    }

    pub(super) fn all(&self) -> &[Arc<dyn JobKind>] {
        &self.kinds
    }

    pub(super) fn find(&self, name: &str) -> Option<&Arc<dyn JobKind>> {
        self.kinds.iter().find(|kind| kind.name() == name)
    }
}

/// A kind of jobs without its types.
pub(super) trait JobKind: Send + Sync {
    fn name(&self) -> &'static str;

    fn limits(&self) -> JobLimits;

    /// Calls or asks, and writes the end. `until`: when the lease ends, by this process's clock.
    fn carry_out<'a>(&'a self, taken: TakenJob, until: Instant, servers: &'a JobServers)
    -> BoxFuture<'a, ()>;

    /// What an intent is about; nothing where it cannot be read.
    fn about(&self, intent: &str) -> JobSubject;

    /// What is called for an intent, or why it is none.
    fn describe(&self, intent: &str) -> Result<String, String>;
}

impl<J: Job> JobKind for OwnedJob<J> {
    fn name(&self) -> &'static str {
        J::KIND
    }

    fn limits(&self) -> JobLimits {
        self.job.limits()
    }

    fn carry_out<'a>(
        &'a self,
        taken: TakenJob,
        until: Instant,
        servers: &'a JobServers,
    ) -> BoxFuture<'a, ()> {
        Box::pin(CarriedOut::new(self, taken, until, servers).run())
    }

    fn about(&self, intent: &str) -> JobSubject {
        serde_json::from_str(intent).map(|intent| J::about(&intent)).unwrap_or_default()
    }

    fn describe(&self, intent: &str) -> Result<String, String> {
        let intent = serde_json::from_str(intent).map_err(|why| why.to_string())?;
        Ok(J::describe(&intent))
    }
}
