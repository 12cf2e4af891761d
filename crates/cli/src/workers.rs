//! The list of workers. To add one: its crate, a line here, and its settings as a field of the configuration.

use crate::config::Config;
use anyhow::{Context, Result};
use bus::{QueueSpec, exchange};
use jobs::{CheckSpec, Floor, Member, Needs, WorkerSpec};
use std::str::FromStr;

/// Makes a worker as it is configured.
type Configured = fn(&Config, &Floor) -> Result<Member>;

/// Every worker of the fleet, in the order in which a fact passes them.
const LIST: [(&WorkerSpec, Configured); 5] = [
    (&ingester::WORKER, |config, floor| Ok(ingester::member(config.intake(floor.writer.clone())?))),
    (&gate::WORKER, |config, floor| Ok(gate::member(config.gate()?, floor))),
    (&ledger::WORKER, |config, floor| Ok(ledger::member(config.ledger()?, floor))),
    (&disputes::WORKER, |config, floor| {
        disputes::member(config.disputes.settings(&config.stripe)?, floor).map_err(anyhow::Error::msg)
    }),
    (&dead_letters::WORKER, |config, floor| Ok(dead_letters::member(config.dead_letters()?, floor))),
];

/// A worker of the list.
#[derive(Clone, Copy)]
pub struct Worker {
    pub spec: &'static WorkerSpec,
    configured: Configured,
}

/// Every worker of the fleet.
pub const ALL: [Worker; LIST.len()] = {
    let mut all = [Worker { spec: LIST[0].0, configured: LIST[0].1 }; LIST.len()];
    let mut place = 1;
    while place < LIST.len() {
        all[place] = Worker { spec: LIST[place].0, configured: LIST[place].1 };
        place += 1;
    }
    all
};

/// The names of all workers.
pub const NAMES: [&str; LIST.len()] = {
    let mut names = [""; LIST.len()];
    let mut place = 0;
    while place < LIST.len() {
        names[place] = LIST[place].0.name;
        place += 1;
    }
    names
};

/// How many queues are settled in transactions of Postgres: a lane of each holds a connection.
pub const QUEUES_WITH_DATABASE: usize = {
    let (mut queues, mut place) = (0, 0);
    while place < LIST.len() {
        match LIST[place].0.needs {
            Needs::Database => queues += LIST[place].0.queues.len(),
            Needs::Door => {}
        }
        place += 1;
    }
    queues
};

impl Worker {
    pub fn name(self) -> &'static str {
        self.spec.name
    }

    /// The worker as it is configured. It does nothing yet.
    ///
    /// # Errors
    /// What is wrong with its settings.
    pub fn member(self, config: &Config, floor: &Floor) -> Result<Member> {
        (self.configured)(config, floor)
            .with_context(|| format!("the settings of the worker {}", self.name()))
    }
}

impl PartialEq for Worker {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Worker {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        ALL.into_iter()
            .find(|worker| worker.name() == text)
            .ok_or_else(|| format!("expected a worker of {}, got {text:?}", NAMES.join(", ")))
    }
}

/// The queues of all workers.
pub fn queues() -> Vec<QueueSpec> {
    ALL.iter().flat_map(|worker| worker.spec.queues).copied().collect()
}

/// Whether a worker decides something about what lies in this queue: then it can be planned.
pub fn is_decided(queue: &str) -> bool {
    queues().iter().any(|spec| spec.name == queue && spec.gives_up)
}

/// Whether facts lie in this queue.
pub fn has_facts(queue: &str) -> bool {
    let of_facts = [exchange::VERIFIED, exchange::INBOUND, exchange::FACTS];
    let is_bound = |spec: &QueueSpec| spec.bindings.iter().any(|(from, _)| of_facts.contains(from));
    queues().iter().any(|spec| spec.name == queue && is_bound(spec))
}

/// What workers prove of their own tables.
pub fn checks() -> Vec<CheckSpec> {
    ALL.iter().flat_map(|worker| worker.spec.checks).copied().collect()
}

/// The alerts that workers may raise.
pub fn alerts() -> impl Iterator<Item = &'static str> {
    ALL.iter().flat_map(|worker| worker.spec.alerts).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Session;
    use domain::FactKind;
    use std::collections::BTreeSet;

    #[test]
    fn each_name_queue_and_alert_belongs_to_one_worker() {
        let once = |names: Vec<&str>| {
            let distinct: BTreeSet<&str> = names.iter().copied().collect();
            assert_eq!(distinct.len(), names.len(), "{names:?}");
        };
        once(NAMES.to_vec());
        once(queues().iter().map(|queue| queue.name).collect());
        once(alerts().collect());
        for worker in ALL {
            assert_eq!(worker.name().parse(), Ok(worker));
            assert!(worker.spec.queues.iter().all(|queue| queue.reader == worker.name()), "{worker:?}");
        }
        assert!("clerk".parse::<Worker>().is_err());
    }

    #[tokio::test]
    async fn what_a_worker_says_of_itself_is_what_it_runs() {
        let session = Session::new(Config::default(), false).unwrap();
        let floor = session.idle_floor("test").unwrap();
        let mut kinds = BTreeSet::new();
        for worker in ALL {
            let member = worker.member(&session.config, &floor).unwrap();
            let reads: BTreeSet<&str> = member.consumers.iter().map(|consumer| consumer.queue()).collect();
            let says: BTreeSet<&str> = worker.spec.queues.iter().map(|queue| queue.name).collect();
            assert_eq!(reads, says, "the queues of {worker:?}");
            assert!(!says.is_empty(), "{worker:?} reads a queue");
            assert!(member.consumers.iter().all(|consumer| consumer.worker() == worker.name()), "{worker:?}");
            let mut codes = member.codes.iter();
            assert!(codes.all(|code| worker.spec.codes.contains(code)), "the codes of {worker:?}");
            assert_eq!(member.alerts, worker.spec.alerts, "the alerts of {worker:?}");
            let passes: BTreeSet<&str> = member.passes.iter().map(|pass| pass.name).collect();
            assert_eq!(passes.len(), member.passes.len(), "passes of {worker:?} have names of their own");
            assert!(
                member.kinds.into_iter().all(|kind| kinds.insert(kind)),
                "a kind of jobs is one worker's"
            );
        }
    }

    #[test]
    fn who_reads_facts_names_their_kinds() {
        for (_, kind) in
            queues().iter().flat_map(|queue| queue.bindings).filter(|(of, _)| *of == exchange::FACTS)
        {
            assert!(FactKind::parse(kind).is_some(), "{kind}");
        }
    }
}
