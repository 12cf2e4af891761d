//! Where faults happen: servers that may be broken, a site on them, and a fleet of the real binary on the site.

use super::load::Load;
use super::proof::{self, Calm, Told};
use super::table::Row;
use crate::binary::{Configuration, settings};
use std::time::Duration;
use testkit::{Addresses, Bursar, Relay, Settings, Site, TestServers, within};
use time::OffsetDateTime;
use tokio::time::Instant;

/// How long a fault and what comes after it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For every run of the tests.
    Short,
    /// `BURSAR_FAULTS=long`
    Long,
}

impl Form {
    pub fn asked_for() -> Self {
        match std::env::var("BURSAR_FAULTS").as_deref() {
            Ok("long") => Form::Long,
            _ => Form::Short,
        }
    }

    pub fn of<T>(self, short: T, long: T) -> T {
        match self {
            Form::Short => short,
            Form::Long => long,
        }
    }

    /// Until the backlog of any fault is worked off; longer is lost or stuck.
    fn drain_limit(self) -> Duration {
        self.of(Duration::from_secs(90), Duration::from_secs(900))
    }
}

/// What is left of a fault when it is over.
#[derive(Debug, Default)]
pub struct Aftermath {
    /// Message ids of what nobody could settle: these are to be dead letters, and nothing else.
    pub dead: Vec<String>,
    /// For people, beside the row.
    pub notes: Vec<String>,
    /// What was otherwise than it should be while the fault lasted.
    pub wrong: Vec<String>,
}

pub struct Place {
    pub servers: TestServers,
    pub site: Site,
    pub form: Form,
    pub addresses: Addresses,
    settings: Settings,
    fleet: Vec<Bursar>,
    told: Told,
    relay: Option<Relay>,
    rows: Vec<Row>,
    _configuration: Configuration,
}

impl Place {
    pub async fn open(form: Form) -> Self {
        Self::open_on(TestServers::start().await, form).await
    }

    pub async fn open_on(servers: TestServers, form: Form) -> Self {
        let site = Site::open_at(servers.database_url.clone(), servers.amqp_url.clone()).await;
        let configuration = Configuration::new("live");
        let mut place = Self {
            told: Told::subscribe(&site).await,
            servers,
            site,
            form,
            addresses: Addresses::free(),
            settings: settings(&configuration),
            fleet: Vec::new(),
            relay: None,
            rows: Vec::new(),
            _configuration: configuration,
        };
        place.start_fleet(&[&["up"]]).await;
        place
    }

    /// Ends everything. Where the faults ended by a panic, that is the last row. The site goes with the servers.
    pub async fn close_after(mut self, what: &'static str, outcome: std::thread::Result<()>) -> Vec<Row> {
        if let Err(panic) = outcome {
            self.rows.push(Row::given_up(what, &*panic));
        }
        self.kill_fleet().await;
        self.site.over.cancel();
        self.servers.end().await;
        self.rows
    }

    /// Keeps a line open that the fleet's connections go by.
    pub fn keep(&mut self, relay: Relay) {
        self.relay = Some(relay);
    }

    /// Starts processes of the binary, each with its arguments. The first has the door.
    pub async fn start_fleet(&mut self, processes: &[&[&str]]) {
        self.start_fleet_with(self.settings.clone(), processes).await;
    }

    /// As [`Self::start_fleet`], with RabbitMQ at another URL.
    pub async fn start_fleet_by(&mut self, amqp_url: String) {
        let settings = self.settings.clone().with("BURSAR_AMQP_URL", amqp_url);
        self.start_fleet_with(settings, &[&["up"]]).await;
    }

    async fn start_fleet_with(&mut self, settings: Settings, processes: &[&[&str]]) {
        for arguments in processes {
            let is_first = self.fleet.is_empty();
            let addresses = if is_first { self.addresses.clone() } else { Addresses::free() };
            self.fleet.push(Bursar::start_at(addresses, &self.site, &settings, arguments).await);
        }
    }

    /// kill -9.
    pub async fn kill_fleet(&mut self) {
        for process in self.fleet.drain(..) {
            process.kill().await;
        }
    }

    pub fn process_id(&self) -> u32 {
        self.fleet[0].process_id()
    }

    /// Injects a fault while load flows, lets the fleet recover, and accounts for all that was sent meanwhile.
    pub async fn fault(
        &mut self,
        fault: &'static str,
        inject: impl AsyncFnOnce(&mut Place, &Load) -> Aftermath,
    ) {
        let name = format!("f{}", self.rows.len() + 1);
        println!("{fault}: from {:?}", OffsetDateTime::now_utc().time());
        let load = Load::start(self, &name);
        self.until_it_flows(&load).await;
        let aftermath = inject(self, &load).await;
        let (over, over_at) = (Instant::now(), OffsetDateTime::now_utc());
        let recovered = self.until_settling(over_at).await.map(|()| over.elapsed());
        let sent = load.stop().await;
        let mut calm = Calm { site: &self.site, sent: &sent, dead: &aftermath.dead, last: "nothing" };
        let drained = calm.within(self.form.drain_limit()).await.then(|| over.elapsed());
        let mut notes = aftermath.notes;
        if let Some(drained) = drained {
            notes.push(self.backlog(over_at, drained, calm.last).await);
        }
        let mut proof =
            proof::prove(&self.site, &self.settings, &mut self.told, &name, &sent, &aftermath.dead).await;
        proof.wrong.extend(aftermath.wrong);
        let row = Row {
            fault,
            facts: sent.ids.len(),
            proof,
            dead_expected: aftermath.dead.len(),
            recovered,
            drained,
            notes,
        };
        println!("{row}");
        self.rows.push(row);
    }

    /// How fast it was worked off, and what came last.
    async fn backlog(&self, since: OffsetDateTime, drained: Duration, last: &str) -> String {
        let settled = u128::try_from(proof::settled_since(&self.site, since).await).unwrap();
        let rate = settled * 1000 / drained.as_millis().max(1);
        format!("{settled} facts settled after it, {rate} in a second; last came: {last}")
    }

    async fn until_it_flows(&self, load: &Load) {
        let from = format!("{}-%", load.name());
        within(Duration::from_secs(20), "the load to flow", async || {
            (proof::settled_of(&self.site, &from).await > 100).then_some(())
        })
        .await;
    }

    /// Waits until a transaction that began after `at` has settled a fact.
    async fn until_settling(&self, at: OffsetDateTime) -> Option<()> {
        let deadline = Instant::now() + self.form.drain_limit();
        while Instant::now() < deadline {
            if proof::settled_since(&self.site, at).await > 0 {
                return Some(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }
}
