#!/usr/bin/env bash
# The fault matrix by itself: servers that are stopped, killed, filled up and cut off under load, and a table of what was
# lost (nothing), doubled (nothing), and how long recovery took. The servers that break are the test's own.
set -euo pipefail

# shellcheck source=deploy/services.sh
source "$(dirname "${BASH_SOURCE[0]}")/services.sh"
# shellcheck source=deploy/local/toolchain.sh
source "$deploy_dir/local/toolchain.sh"

usage() {
    cat <<'USAGE'
usage: deploy/faults.sh [--long] [--table FILE]

  --long        ten minutes without Postgres, a disk that is really full, 1,000 poison messages among 100,000: about half an hour
  --table FILE  where to write the table as well
USAGE
}

while [[ $# -gt 0 ]]; do
    case $1 in
        --long) export BURSAR_FAULTS=long ;;
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
        *) fail "expected --long or --table FILE, got $1" ;;
    esac
    shift
done

ensure_toolchain
services_ensure
ensure_private_programs
[[ ${BURSAR_TEST_PRIVATE_SERVERS:-} != missing ]] || fail "$(private_programs_report)"
give_tests_their_servers
build_bursar
cd "$workspace_dir"
cargo test --package fleet-tests --test fleet --locked -- --nocapture no_fault_loses_or_doubles_anything
