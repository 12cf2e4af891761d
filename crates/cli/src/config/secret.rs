//! Secrets from the environment: each under its name, or in the file that `<name>_FILE` names.

use anyhow::{Context, Result, bail};
use domain::settings::Masked;

/// The secret of this name. A line's end at the end of its file is none of it.
pub fn secret(env: &impl Fn(&str) -> Option<String>, name: &str) -> Result<Option<String>> {
    let variable = format!("{name}_FILE");
    let (value, file) = (env(name), env(&variable));
    let Some(file) = file else { return Ok(value) };
    if value.is_some() {
        bail!("{name} and {variable} are both set: expected one of them");
    }
    let text = std::fs::read_to_string(&file).with_context(|| format!("{variable}: reading {file}"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.trim().is_empty() {
        bail!("{variable}: expected a secret in {file}, it is empty");
    }
    Ok(Some(text.to_owned()))
}

/// Secrets of a list, separated by commas or, as files have them, by lines.
pub fn listed(list: &str) -> Vec<Masked> {
    let secrets = list.split([',', '\n', '\r']).map(str::trim).filter(|secret| !secret.is_empty());
    secrets.map(Masked::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::path::PathBuf;

    /// A file with this in it, gone with the test's folder of temporary files.
    fn file(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("bursar-secret-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path
    }

    fn check(set: &[(&str, &str)], expect: Result<Option<&str>, &str>) {
        let env = |name: &str| {
            set.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        };
        match (secret(&env, "BURSAR_X"), expect) {
            (Ok(got), Ok(expect)) => assert_eq!(got.as_deref(), expect),
            (Err(error), Err(expect)) => {
                let error = format!("{error:#}");
                assert!(error.contains(expect) && !error.contains("hush"), "{error}");
            }
            (got, expect) => panic!("{got:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn secrets_of_a_list_stand_between_commas_or_on_lines() {
        for list in ["one,two", "one, two,", "one\ntwo", "one\r\ntwo\r\n", "\none,\n\n two"] {
            let found = listed(list);
            let found: Vec<&str> = found.iter().map(|secret| secret.0.expose_secret()).collect();
            assert_eq!(found, ["one", "two"], "{list:?}");
        }
    }

    #[test]
    fn a_secret_comes_by_its_name_or_from_a_file_and_never_from_both() {
        let (one, empty) = (file("one", "hush, hush\r\n"), file("empty", "\n"));
        let (one, empty) = (one.to_str().unwrap(), empty.to_str().unwrap());
        check(&[], Ok(None));
        check(&[("BURSAR_X", "hush")], Ok(Some("hush")));
        check(&[("BURSAR_X_FILE", one)], Ok(Some("hush, hush")));
        check(
            &[("BURSAR_X", "hush"), ("BURSAR_X_FILE", one)],
            Err("BURSAR_X and BURSAR_X_FILE are both set"),
        );
        check(&[("BURSAR_X_FILE", empty)], Err("expected a secret in"));
        check(&[("BURSAR_X_FILE", "/nowhere/x")], Err("BURSAR_X_FILE: reading /nowhere/x: No such file"));
        for path in [one, empty] {
            std::fs::remove_file(path).unwrap();
        }
    }
}
