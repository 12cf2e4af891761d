//! House rules, as tests: arrows between crates point down only, SQL and the broker's client stay where they belong,
//! every crate is on the map. Each rule has its reason in the design, "Layout".

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What each crate may depend on, from the bottom up. A crate that is not named here is a worker.
const ARROWS: [(&str, &[&str]); 9] = [
    ("domain", &[]),
    ("processors", &["domain"]),
    ("evidence", &["domain"]),
    ("db", &["domain"]),
    // The loop knows no fact: of the domain it uses the list of outcomes.
    ("bus", &["db", "domain"]),
    ("facts", &["bus", "db", "domain", "processors"]),
    ("jobs", &["bus", "db", "domain", "facts", "processors"]),
    ("testkit", &["bus", "db", "domain", "facts"]),
    ("cli", EVERYTHING),
];

/// No worker depends on another: they meet in the broker and in Postgres.
const ARROWS_OF_WORKERS: &[&str] = &["bus", "db", "domain", "evidence", "facts", "jobs", "processors"];

const EVERYTHING: &[&str] = &["*"];

/// Where SQL stands, besides every worker's `store.rs` and all of `db`.
const SQL_ALLOWED: [&str; 6] = [
    // Its passes, packs and read models each read across the ledger's tables.
    "crates/disputes/src/",
    "crates/ledger/src/read",
    "crates/ledger/src/store/",
    "crates/ledger/src/verify",
    "crates/ledger/src/rebuild",
    CEILINGS,
];

/// The benchmark measures what the servers can do without Bursar.
const CEILINGS: &str = "crates/cli/src/commands/bench/";

/// Longer files hide something that wants a name.
const LINES_MAX: usize = 900;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file of the workspace by its path from the root, with its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn crate_name(&self) -> &str {
        self.path.split('/').nth(1).unwrap_or("")
    }

    fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// Its lines of code with their numbers: without comments, up to the unit tests at its end.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        let lines = self.text[..end].lines().enumerate();
        lines
            .map(|(number, line)| (number + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// Every Rust file of the crates and of these tests.
fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    for folder in ["crates", "tests"] {
        collect(&root().join(folder), &mut files);
    }
    let root = root();
    let mut sources: Vec<Source> = files
        .into_iter()
        .map(|file| Source {
            path: file.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/"),
            text: std::fs::read_to_string(&file).unwrap(),
        })
        .collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 40, "the sources are found");
    sources
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Each crate's manifest by the crate's name.
fn manifests() -> BTreeMap<String, toml::Table> {
    let crates = std::fs::read_dir(root().join("crates")).unwrap();
    crates
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| {
            let text = std::fs::read_to_string(path.join("Cargo.toml")).unwrap();
            (path.file_name().unwrap().to_string_lossy().into_owned(), text.parse().unwrap())
        })
        .collect()
}

fn dependencies(manifest: &toml::Table, section: &str) -> BTreeSet<String> {
    let table = manifest.get(section).and_then(|section| section.as_table());
    table.into_iter().flat_map(|table| table.keys().cloned()).collect()
}

/// Every place that breaks a rule is named at once.
#[track_caller]
fn check(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}. Broken by:\n  {}", broken.join("\n  "));
}

#[test]
fn arrows_between_crates_point_down_only() {
    let manifests = manifests();
    let mut broken = Vec::new();
    for (name, manifest) in &manifests {
        let allowed =
            ARROWS.iter().find(|(of, _)| of == name).map_or(ARROWS_OF_WORKERS, |(_, allowed)| *allowed);
        let internal =
            dependencies(manifest, "dependencies").into_iter().filter(|to| manifests.contains_key(to));
        broken.extend(
            internal
                .filter(|to| allowed != EVERYTHING && !allowed.contains(&to.as_str()))
                .map(|to| format!("{name} -> {to}")),
        );
    }
    check("a crate depends on those below it alone, and workers on no worker", broken);
}

#[test]
fn the_testkit_is_in_no_binary() {
    let manifests = manifests();
    let broken = manifests
        .iter()
        .filter(|(_, manifest)| dependencies(manifest, "dependencies").contains("testkit"))
        .map(|(name, _)| name.clone());
    check("testkit is a dev-dependency alone", broken.collect());
}

#[test]
fn sql_stands_in_its_files() {
    let is_allowed = |source: &Source| {
        matches!(source.crate_name(), "db" | "testkit")
            || source.is_test()
            || source.path.ends_with("/store.rs")
            || SQL_ALLOWED.iter().any(|allowed| source.path.starts_with(allowed))
    };
    let broken = lines_with(&["sqlx::query", "sqlx::raw_sql", "QueryBuilder"], |source| !is_allowed(source));
    check("SQL stands in db, in a worker's store.rs, and where the ledger is read and verified", broken);
}

#[test]
fn only_the_bus_speaks_to_the_broker() {
    let is_allowed = |source: &Source| {
        let outside = source.path == "crates/cli/src/subscriber.rs" || source.path.starts_with(CEILINGS);
        matches!(source.crate_name(), "bus" | "testkit") || source.is_test() || outside
    };
    let broken = lines_with(&["lapin::", "use lapin"], |source| !is_allowed(source));
    check(
        "lapin is used by bus, and where the outside is played: a subscriber, the benchmark, tests",
        broken,
    );
}

#[test]
fn the_unmaintained_backoff_stands_in_one_file() {
    let mut broken = lines_with(&["::backoff::backoff", "ExponentialBackoff", "use ::backoff"], |source| {
        source.path != "crates/bus/src/backoff.rs" && !source.is_test()
    });
    broken.extend(
        manifests()
            .into_iter()
            .filter(|(name, manifest)| {
                name != "bus" && dependencies(manifest, "dependencies").contains("backoff")
            })
            .map(|(name, _)| format!("{name}/Cargo.toml")),
    );
    check(
        "the crate backoff is used in crates/bus/src/backoff.rs alone, so that replacing it replaces that file",
        broken,
    );
}

#[test]
fn nothing_unwraps_outside_tests() {
    let broken = lines_with(&[".unwrap()"], |source| !source.is_test());
    check("no unwrap outside tests: an error has a fate, and what cannot fail says why", broken);
}

#[test]
fn the_domain_has_no_clock_no_chance_and_no_io() {
    let needles =
        ["now_utc()", "SystemTime", "Instant::now", "rand::", "std::fs", "std::net", "tokio::", "std::env"];
    let broken = lines_with(&needles, |source| {
        matches!(source.crate_name(), "domain" | "evidence" | "processors") && !source.is_test()
    });
    check("domain, evidence and processors are pure: the same input gives the same output", broken);
}

#[test]
fn no_file_is_too_long() {
    let broken = sources()
        .into_iter()
        .map(|source| (source.text.lines().count(), source.path))
        .filter(|(lines, _)| *lines > LINES_MAX)
        .map(|(lines, path)| format!("{path}: {lines} lines"));
    check("a file has at most 900 lines", broken.collect());
}

#[test]
fn every_crate_is_on_the_map() {
    let map = std::fs::read_to_string(root().join("crates/README.md")).unwrap_or_default();
    let missing = manifests()
        .into_keys()
        .filter(|name| !map.contains(&format!("{name}/")) && !map.contains(&format!("`{name}`")));
    check("crates/README.md says of every crate what it is", missing.collect());
}

#[test]
fn every_member_keeps_the_workspace_lints() {
    let kept = |manifest: &toml::Table| {
        manifest.get("lints").and_then(|lints| lints.get("workspace")) == Some(&toml::Value::Boolean(true))
    };
    let broken = manifests().into_iter().filter(|(_, manifest)| !kept(manifest)).map(|(name, _)| name);
    check("every crate takes its lints from the workspace", broken.collect());
}

fn lines_with(needles: &[&str], concerns: impl Fn(&Source) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| concerns(source)) {
        for (number, line) in source.code() {
            if needles.iter().any(|needle| line.contains(needle)) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    found
}
