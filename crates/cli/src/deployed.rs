//! What is deployed and the list of workers, held together: a worker that is forgotten somewhere is one whose queue nobody reads.

use crate::workers::NAMES;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The workers that a file of services runs: `[run, gate]`, or the same over two lines of a list.
fn runs(text: &str) -> BTreeSet<String> {
    let words: Vec<&str> = text
        .split(|character: char| !(character.is_alphanumeric() || character == '-' || character == '_'))
        .collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty() && *word != "-").collect();
    let named = |word: &&str| NAMES.contains(word);
    words
        .windows(2)
        .filter(|pair| pair[0] == "run" && named(&pair[1]))
        .map(|pair| pair[1].to_owned())
        .collect()
}

fn workers() -> BTreeSet<String> {
    NAMES.map(str::to_owned).into()
}

fn yaml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the project") {
        let path = entry.expect("an entry of it").path();
        if path.is_dir() {
            yaml_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml") {
            found.push(path);
        }
    }
}

#[test]
fn docker_compose_has_a_service_for_each_worker() {
    let text = std::fs::read_to_string(root().join("docker-compose.yml")).expect("a file of the project");
    assert_eq!(runs(&text), workers());
    for worker in workers() {
        assert!(text.contains(&format!("\n  {worker}:\n")), "a service named {worker}");
    }
}

/// Wherever they lie below `deploy`: all of them together run every worker, or there are none.
#[test]
fn kubernetes_has_a_deployment_for_each_worker() {
    let mut files = Vec::new();
    yaml_files(&root().join("deploy"), &mut files);
    let texts = files.iter().map(|file| std::fs::read_to_string(file).expect("a text"));
    let deployments: Vec<String> = texts.filter(|text| text.contains("kind: Deployment")).collect();
    if !deployments.is_empty() {
        let run: BTreeSet<String> = deployments.iter().flat_map(|text| runs(text)).collect();
        assert_eq!(run, workers());
    }
}

#[test]
fn what_a_service_runs_is_read_in_either_form() {
    let check = |text: &str| assert_eq!(runs(text), BTreeSet::from(["dead-letters".to_owned()]), "{text}");
    check("    command: [run, dead-letters]\n    # run gates");
    check("args: [\"run\", \"dead-letters\"]");
    check("          args:\n            - run\n            - dead-letters\n");
}
