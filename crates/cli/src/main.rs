//! `bursar`: the binary. The only place with a main, the environment and signals; it wires the crates together.

use bursar::{commands, misuse, observe, visible};
use clap::Parser;
use std::process::ExitCode;

/// Facts are many small texts: this allocator hands them out in half the time of the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match commands::Cli::try_parse() {
        Ok(cli) => cli,
        Err(wrong) if wrong.use_stderr() => return misused(&wrong),
        Err(asked) => asked.exit(),
    };
    // RabbitMQ, Postgres and HTTP share one provider of cryptography.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return fail(&anyhow::anyhow!("the TLS provider was installed twice"));
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let ended = runtime.block_on(commands::run(cli));
    leave(runtime);
    observe::flush_logs();
    match ended {
        Ok(status) => status,
        Err(error) => fail(&error),
    }
}

/// What was asked is quoted, and may have been pasted from anywhere: it is read once more as it can be shown.
fn misused(wrong: &clap::Error) -> ExitCode {
    use std::io::Write;
    let shown = std::env::args_os().map(|argument| visible::on_a_line(&argument.to_string_lossy()));
    let text = match commands::Cli::try_parse_from(shown) {
        Err(same) => same.render().to_string(),
        Ok(_) => indented(&wrong.render().to_string()),
    };
    drop(write!(std::io::stderr(), "{}", visible::printed(&text)));
    ExitCode::from(2)
}

/// Closes what is still open, and leaves the runtime to the end of the process. The broker's client has threads of its own that
/// wait for tasks, to look up a host's name for one: they panic where a runtime is dropped under them.
fn leave(runtime: tokio::runtime::Runtime) {
    runtime.block_on(bus::close_connections());
    std::mem::forget(runtime);
}

fn fail(error: &anyhow::Error) -> ExitCode {
    use std::io::Write;
    // Where even stderr is gone there is nobody left to tell.
    drop(writeln!(std::io::stderr(), "bursar: {}", visible::printed(&indented(&told(error)))));
    ExitCode::from(if error.is::<misuse::Misuse>() { 2 } else { 1 })
}

/// What an error quotes begins no line of its own: it cannot be taken for one of ours.
fn indented(text: &str) -> String {
    text.replace('\n', "\n  ")
}

/// An error and what it came of, each said once: many say their source themselves.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    match is_unmigrated(error) {
        true => {
            format!("{text}. The database's tables are not as this version needs them: run `bursar migrate`")
        }
        false => text,
    }
}

/// A table, a column or a function that is not there.
fn is_unmigrated(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let of_act = cause.downcast_ref::<dead_letters::acts::ActError>().and_then(|error| match error {
            dead_letters::acts::ActError::Database(error) => Some(error),
            _ => None,
        });
        cause.downcast_ref::<db::Error>().or(of_act).is_some_and(db::Error::is_unmigrated)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn a_thread_that_waits_for_the_runtime_is_left_waiting() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (handle, (told, tells)) = (runtime.handle().clone(), std::sync::mpsc::channel::<()>());
        std::thread::spawn(move || {
            // Dropped when the thread ends, by a panic too.
            let _told = told;
            handle.block_on(handle.spawn(std::future::pending::<()>())).expect("nobody cancels it");
        });
        runtime.block_on(tokio::task::yield_now());
        leave(runtime);
        let ended = tells.recv_timeout(std::time::Duration::from_millis(500));
        assert_eq!(ended, Err(std::sync::mpsc::RecvTimeoutError::Timeout));
    }

    #[test]
    fn what_an_error_came_of_is_said_once() {
        let source = anyhow!("refused");
        let said = told(&source.context("the broker: refused").context("looking"));
        assert_eq!(said, "looking: the broker: refused");
    }
}
