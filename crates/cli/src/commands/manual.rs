//! `completions` and `man`: what shells and `man` know of the commands. Both are made from the commands' own definitions, so
//! they never lag behind; both are the same each time.

use crate::output::say;
use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_complete::Shell;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub const COMPLETIONS_HELP: &str = "\
bash: `bursar completions bash > ~/.local/share/bash-completion/completions/bursar`
zsh:  `bursar completions zsh > _bursar`, in a directory of $fpath
fish: `bursar completions fish > ~/.config/fish/completions/bursar.fish`";

#[derive(Args)]
pub struct Completions {
    /// For which shell
    shell: Shell,
}

#[derive(Args)]
pub struct Man {
    /// Write a page for each command into this directory, instead of the first page to standard output
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn completions(commands: Command, arguments: &Completions) -> Result<ExitCode> {
    write_out(&script(commands, arguments.shell))
}

fn script(mut commands: Command, shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut commands, "bursar", &mut script);
    script
}

pub fn man(commands: Command, arguments: &Man, as_json: bool) -> Result<ExitCode> {
    let pages = pages(commands)?;
    let Some(folder) = &arguments.out else {
        return write_out(pages.first().map_or(&[], |(_, text)| text));
    };
    write_pages(folder, &pages).with_context(|| format!("writing manual pages into {}", folder.display()))?;
    match as_json {
        true => crate::output::say_json(
            &json!({ "directory": folder.display().to_string(), "pages": pages.len() }),
        )?,
        false => {
            let (count, folder) = (pages.len(), folder.display());
            say(&format!("{count} pages are in {folder}: `man -l {folder}/bursar.1`"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write_pages(folder: &Path, pages: &[(String, Vec<u8>)]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    pages.iter().try_for_each(|(name, text)| std::fs::write(folder.join(name), text))
}

/// A page for each command, the program's own first: `bursar-dlq-list.1` is of `bursar dlq list`.
fn pages(mut commands: Command) -> Result<Vec<(String, Vec<u8>)>> {
    // So that each knows its whole name, and the options that all have.
    commands.build();
    let mut pages = Vec::new();
    add_pages(&commands, &mut pages)?;
    Ok(pages)
}

fn add_pages(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text).context("writing a manual page")?;
    pages.push((format!("{name}.1"), text));
    let inner = command.get_subcommands().filter(|inner| inner.get_name() != "help");
    inner.filter(|inner| !inner.is_hide_set()).try_for_each(|inner| add_pages(inner, pages))
}

/// As it is, for a shell or for `man`; a reader that has gone away is a normal end.
fn write_out(text: &[u8]) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.context("writing to stdout")?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::pages as made;
    use super::*;
    use crate::commands::Cli;
    use clap::{CommandFactory, ValueEnum};

    /// Every command by its path: `dlq list`.
    fn add_paths(command: &Command, before: &[String], paths: &mut Vec<Vec<String>>) {
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            let path = [before, &[inner.get_name().to_owned()]].concat();
            add_paths(inner, &path, paths);
            paths.push(path);
        }
    }

    fn all() -> Vec<Vec<String>> {
        let mut all = Vec::new();
        add_paths(&Cli::command(), &[], &mut all);
        assert!(all.len() > 50, "{}", all.len());
        all
    }

    #[test]
    fn a_shell_knows_every_command() {
        for shell in Shell::value_variants() {
            let text = String::from_utf8(script(Cli::command(), *shell)).unwrap();
            let unknown: Vec<_> =
                all().into_iter().flatten().filter(|name| !text.contains(name.as_str())).collect();
            assert!(unknown.is_empty() && text.contains("bursar"), "{shell}: {unknown:?}");
            assert_eq!(script(Cli::command(), *shell), text.as_bytes(), "{shell}: it is the same each time");
        }
    }

    #[test]
    fn every_command_has_a_page_of_its_own() {
        let pages = made(Cli::command()).unwrap();
        assert_eq!(pages[0].0, "bursar.1");
        for path in all() {
            let name = format!("bursar-{}.1", path.join("-"));
            let (_, text) = pages.iter().find(|(page, _)| *page == name).unwrap_or_else(|| panic!("{name}"));
            assert!(text.len() > 200, "{name}");
        }
        assert_eq!(pages.len(), all().len() + 1, "and nothing else has");
        assert_eq!(made(Cli::command()).unwrap(), pages, "they are the same each time");
    }
}
