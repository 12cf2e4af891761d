//! `config show`: the effective configuration, secrets masked.

use crate::output::{say, say_json};
use crate::session::Session;
use anyhow::Result;
use clap::Subcommand;
use std::process::ExitCode;

#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Print the effective configuration, secrets masked
    Show,
}

pub fn run(session: &Session, command: &ConfigCommand) -> Result<ExitCode> {
    match command {
        ConfigCommand::Show if session.json => say_json(&session.config)?,
        ConfigCommand::Show => say(toml::to_string(&session.config)?.trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}
