//! `bursar`: the binary. The only place with a main, the environment and signals; it wires the crates together.

mod admin;
mod api;
mod commands;
mod config;
mod fleet;
mod observe;
mod plan;
mod scratch;
mod session;
mod subscriber;
mod table;

use clap::Parser;
use std::process::ExitCode;

/// Facts are many small texts: this allocator hands them out in half the time of the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = commands::Cli::parse();
    // RabbitMQ, Postgres and HTTP share one provider of cryptography.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return fail(&anyhow::anyhow!("the TLS provider was installed twice"));
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(status) => status,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    use std::io::Write;
    // Where even stderr is gone there is nobody left to tell.
    drop(writeln!(std::io::stderr(), "bursar: {error:#}"));
    ExitCode::from(1)
}
