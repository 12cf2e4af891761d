//! `up`, `run` and `migrate`.

use crate::fleet::Fleet;
use crate::observe;
use crate::output::say;
use crate::session::Session;
use crate::workers::Worker;
use anyhow::{Context, Result};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

pub async fn run(session: Session, workers: &[Worker], migrate: bool) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let metrics = observe::start_metrics()?;
    let fleet = Fleet::start(Arc::new(session), workers, migrate, metrics).await?;
    let stop = fleet.stopper();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
            _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
        }
        stop.cancel();
    });
    fleet.join().await?;
    tracing::info!("drained");
    Ok(ExitCode::SUCCESS)
}

/// As the owner. Without a role to grant to it is the one that BURSAR_DATABASE_URL names, where that is another.
pub async fn migrate(session: &Session, grant_to: Option<String>) -> Result<ExitCode> {
    let runtime = grant_to.or_else(|| session.config.runtime_role());
    session.migrate(runtime.as_deref()).await?;
    say("The database has every table this version needs.");
    if let Some(role) = runtime {
        say(&format!("The role {role} may do to them what the fleet does, and no more."));
    }
    Ok(ExitCode::SUCCESS)
}
