//! The role that runs: whether what must not be changed is out of its reach.

use super::finding::{Finding, Mark, finding};
use db::roles::RoleStanding;

const HOW: &str = "Make a role for the fleet (`create role bursar_runtime login password '...'`), name it in BURSAR_DATABASE_URL and \
     the owner in BURSAR_MIGRATE_URL, and run `bursar migrate --grant-to bursar_runtime`";

/// Named of a long list of rights.
const NAMED: usize = 6;

pub(super) async fn findings(pool: &db::Pool) -> Vec<Finding> {
    match db::roles::standing(pool).await {
        Ok(standing) => judge(&standing),
        Err(error) => vec![finding("roles", Mark::Failed, error.to_string())],
    }
}

fn judge(standing: &RoleStanding) -> Vec<Finding> {
    let RoleStanding { role, is_superuser, is_owner, may_create, too_much, too_little } = standing;
    let warning = |says: String| finding("roles", Mark::Warning, says);
    if *is_superuser {
        let says = format!(
            "{role} is a superuser: nothing is refused to it, and whoever has its password has the server. {HOW}"
        );
        return vec![warning(says)];
    }
    if *is_owner {
        let says = format!(
            "{role} owns the tables and runs the fleet: journal, events and facts can be changed by it. {HOW}"
        );
        return vec![warning(says)];
    }
    let again = format!("`bursar migrate --grant-to {role}` as the owner mends it");
    let mut findings = Vec::new();
    if !too_little.is_empty() {
        let says = format!("{role} lacks {}: {again}", some(too_little));
        findings.push(finding("roles", Mark::Failed, says));
    }
    if !too_much.is_empty() {
        findings.push(warning(format!("{role} may more than it needs, {}: {again}", some(too_much))));
    }
    if *may_create {
        let says = format!(
            "{role} may make tables beside the fleet's: `revoke create on schema public from public, {role}`"
        );
        findings.push(warning(says));
    }
    if findings.is_empty() {
        let says = format!("{role} runs and owns nothing: journal, events and facts are out of its reach");
        findings.push(finding("roles", Mark::Ok, says));
    }
    findings
}

fn some(rights: &[String]) -> String {
    match rights.len().checked_sub(NAMED) {
        Some(more @ 1..) => format!("{} and {more} more", rights[..NAMED].join(", ")),
        _ => rights.join(", "),
    }
}
