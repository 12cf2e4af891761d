//! The fleet under measurement, in processes of its own.

use super::figures::Memory;
use crate::scratch;
use crate::session::Session;
use anyhow::{Context, Result, bail};
use ingester::Scope;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::Instant;

pub struct FleetProcess {
    members: Vec<FleetMember>,
    /// The configuration that the processes read.
    file: PathBuf,
}

struct FleetMember {
    name: String,
    process: Child,
    admin: String,
}

impl FleetProcess {
    pub async fn start(session: &Session, split: bool) -> Result<Self> {
        match split {
            false => Self::start_workers(session, "gate,ledger,disputes").await,
            true => {
                let mut fleet = Self::prepare(session).await?;
                fleet.add(session, "gate", &["run", "gate"], &[])?;
                fleet.add(session, "ledger", &["run", "ledger"], &[])?;
                fleet.add(session, "disputes", &["run", "disputes"], &[])?;
                fleet.wait_until_ready().await?;
                Ok(fleet)
            }
        }
    }

    /// These workers in one process.
    pub async fn start_workers(session: &Session, workers: &str) -> Result<Self> {
        let mut fleet = Self::prepare(session).await?;
        fleet.add(session, "bursar", &["up", "--workers", workers], &[])?;
        fleet.wait_until_ready().await?;
        Ok(fleet)
    }

    /// One more process, at whose address accounts are read with this token. No webhook gets in there.
    pub async fn open_door(&mut self, session: &Session, token: &str) -> Result<String> {
        let address = free_address()?;
        let token = format!("bench:{}:{}", Scope::AccountsRead.as_str(), ingester::hash(token));
        let settings = [
            ("BURSAR_HTTP_ADDR", address.as_str()),
            ("BURSAR_API_TOKENS", token.as_str()),
            ("BURSAR_API_TOKENS_FILE", ""),
            // That doors are closed is meant.
            ("BURSAR_LOG", "error"),
        ];
        self.add(session, "ingester", &["run", "ingester"], &settings)?;
        self.wait_until_ready().await?;
        Ok(address)
    }

    /// One more process, at whose address this processor's webhooks are taken that are signed with the secret.
    pub async fn open_webhooks(
        &mut self,
        session: &Session,
        processor: &str,
        secret: &str,
    ) -> Result<String> {
        let address = free_address()?;
        let secrets = format!("BURSAR_{}_WEBHOOK_SECRETS", processor.to_uppercase());
        let settings =
            [("BURSAR_HTTP_ADDR", address.as_str()), (secrets.as_str(), secret), ("BURSAR_LOG", "error")];
        self.add(session, "webhooks", &["run", "ingester"], &settings)?;
        self.wait_until_ready().await?;
        Ok(address)
    }

    async fn prepare(session: &Session) -> Result<Self> {
        db::migrate(&session.pool).await?;
        let file = std::env::temp_dir().join(format!("{}.toml", session.config.namespace));
        std::fs::write(&file, toml::to_string(&session.config)?)?;
        Ok(Self { members: Vec::new(), file })
    }

    fn add(
        &mut self,
        session: &Session,
        name: &str,
        arguments: &[&str],
        settings: &[(&str, &str)],
    ) -> Result<()> {
        let admin = free_address()?;
        let process = Command::new(std::env::current_exe()?)
            .args(arguments)
            .env("BURSAR_CONFIG", &self.file)
            .envs(scratch::environment(&session.config))
            .env("BURSAR_ADMIN_ADDR", &admin)
            .env("BURSAR_LOG", "warn")
            .envs(settings.iter().copied())
            .kill_on_drop(true)
            .spawn()
            .context("starting the fleet")?;
        self.members.push(FleetMember { name: name.to_owned(), process, admin });
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        for member in &mut self.members {
            while !is_ready(&member.admin).await {
                if let Some(status) = member.process.try_wait()? {
                    bail!("{} ended with {status} before it was ready", member.name);
                }
                if Instant::now() > deadline {
                    bail!("{} did not become ready within 30 s: see `bursar doctor`", member.name);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// The counters of all its processes together.
    pub async fn counters(&self) -> Result<Counters> {
        let mut counters = Counters::default();
        for member in &self.members {
            let text = reqwest::get(format!("http://{}/metrics", member.admin)).await?.text().await?;
            counters.add(&text);
        }
        Ok(counters)
    }

    /// Greatest resident sizes so far, in MiB, as Linux counts them; nothing elsewhere.
    pub fn memory(&self) -> Memory {
        let mut memory = Memory::default();
        for member in &self.members {
            let mib = member.process.id().and_then(greatest_resident_mib).unwrap_or(0);
            memory.bursar += mib;
            memory.per_worker.insert(member.name.clone(), mib);
        }
        memory
    }

    /// Drains the processes and waits for their ends.
    pub async fn stop(mut self) -> Result<()> {
        for member in &mut self.members {
            if let Some(pid) = member.process.id() {
                let asked = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await;
                asked.context("asking a worker to end")?;
            }
            drop(tokio::time::timeout(Duration::from_secs(45), member.process.wait()).await);
        }
        drop(std::fs::remove_file(&self.file));
        Ok(())
    }
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

async fn is_ready(admin: &str) -> bool {
    reqwest::get(format!("http://{admin}/readyz")).await.is_ok_and(|answer| answer.status().is_success())
}

/// The greatest resident size that a process has had.
pub fn greatest_resident_mib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib / 1024)
}

/// Sums of a process's counters, by metric and worker.
#[derive(Default)]
pub struct Counters(BTreeMap<(String, String), f64>);

impl Counters {
    fn add(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Some((metric, labels)) = series.split_once('{') else { continue };
            let worker = labels.split("worker=\"").nth(1).and_then(|rest| rest.split('"').next());
            if let (Some(worker), Ok(value)) = (worker, value.parse::<f64>()) {
                *self.0.entry((metric.to_owned(), worker.to_owned())).or_default() += value;
            }
        }
    }

    fn of(&self, metric: &str, worker: &str) -> f64 {
        self.0.get(&(metric.to_owned(), worker.to_owned())).copied().unwrap_or(0.0)
    }

    pub fn settled_by(&self, worker: &str) -> f64 {
        self.of("bursar_facts_total", worker)
    }

    pub fn batches_of(&self, worker: &str) -> f64 {
        self.of("bursar_batch_facts_count", worker)
    }

    pub fn statements_of(&self, worker: &str) -> f64 {
        self.of("bursar_statements_total", worker)
    }
}
