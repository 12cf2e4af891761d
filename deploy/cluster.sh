#!/usr/bin/env bash
# Several servers by themselves: a private RabbitMQ of three nodes and a private Postgres of a primary and a synchronous
# standby, whose nodes are killed (-9) one after the other while load flows into the real binary. The table says what was lost
# (nothing), doubled (nothing), and below it how long nothing was settled while a node stayed away.
set -euo pipefail

# shellcheck source=deploy/services.sh
source "$(dirname "${BASH_SOURCE[0]}")/services.sh"
# shellcheck source=deploy/local/toolchain.sh
source "$deploy_dir/local/toolchain.sh"

usage() {
    cat <<'USAGE'
usage: deploy/cluster.sh [--short] [--table FILE]

  --short       whoever is killed stays away for 10 s, not for 30 s
  --table FILE  where to write the table as well
USAGE
}

export BURSAR_FAULTS=long
while [[ $# -gt 0 ]]; do
    case $1 in
        --short) unset BURSAR_FAULTS ;;
        --table)
            [[ $# -ge 2 ]] || fail "--table: expected a file after it"
            # The test runs in a directory of its own.
            BURSAR_FAULTS_TABLE=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
            export BURSAR_FAULTS_TABLE
            shift
            ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) fail "expected --short or --table FILE, got $1" ;;
    esac
    shift
done

ensure_toolchain
ensure_private_programs
[[ ${BURSAR_TEST_PRIVATE_SERVERS:-} != missing ]] || fail "$(private_programs_report)"
forget_user_settings
export SQLX_OFFLINE=true
unset DATABASE_URL
build_bursar
cd "$workspace_dir"
cargo test --package fleet-tests --test fleet --locked -- --ignored --nocapture a_killed_node_or_primary
