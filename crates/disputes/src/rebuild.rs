//! Disputes and restrictions made anew from the facts that were settled, for `ledger rebuild --compare`.
//!
//! Restrictions are compared by account, kind and cause: since when they stand is when they were decided, and a case that waited was
//! taken up at a moment that no fact tells.

use crate::desk::Desk;
use crate::{WORKER, take_up};
use db::{Error, Work};
use domain::Envelope;
use domain::dispute::Policy;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jobs::{ComparisonSpec, Rebuilds};

const COMPARISONS: [ComparisonSpec; 2] = [
    ComparisonSpec { name: "disputes", sql: include_str!("rebuild/disputes.sql") },
    ComparisonSpec { name: "restrictions", sql: include_str!("rebuild/restrictions.sql") },
];

/// By the policy of today.
pub struct DisputesRebuilt {
    pub policy: Policy,
}

impl DisputesRebuilt {
    async fn settle(&self, work: &mut Work, facts: &[Envelope]) -> Result<(), Error> {
        // An operator lifts what stands by then: cases whose payment came meanwhile are taken up first.
        take_up::all_in_silence(work, &self.policy).await?;
        let mut desk = Desk::open(work, &self.policy, facts).await?;
        for fact in facts {
            // What it refuses it refused then, too: that leaves nothing behind.
            desk.settle(fact)?;
        }
        desk.close_in_silence(work).await
    }
}

impl Rebuilds for DisputesRebuilt {
    fn reader(&self) -> &'static str {
        WORKER.name
    }

    fn replay<'a>(&'a self, work: &'a mut Work, facts: &'a [Envelope]) -> BoxFuture<'a, Result<(), Error>> {
        self.settle(work, facts).boxed()
    }

    fn finish<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<(), Error>> {
        take_up::all_in_silence(work, &self.policy).boxed()
    }

    fn comparisons(&self) -> &'static [ComparisonSpec] {
        &COMPARISONS
    }
}
