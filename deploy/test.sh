#!/usr/bin/env bash
# Every test, on a real Postgres and a real RabbitMQ. What CI runs. Arguments are passed on to the test runner (cargo nextest
# where it is installed, else cargo test). Leaves nothing behind, and looks whether that is so.
set -euo pipefail

# shellcheck source=deploy/services.sh
source "$(dirname "${BASH_SOURCE[0]}")/services.sh"
# shellcheck source=deploy/local/toolchain.sh
source "$deploy_dir/local/toolchain.sh"

usage() {
    cat <<'USAGE'
usage: deploy/test.sh [--private] [--keep-services] [arguments of the test runner, e.g. the name of a test]

  --private        start a private Postgres and RabbitMQ even where others answer
  --keep-services  leave private services running for the next call; `deploy/services.sh stop` ends them
USAGE
}

parse_options() {
    service_options=()
    while [[ $# -gt 0 ]]; do
        case $1 in
            --private | --keep-services) service_options+=("$1") ;;
            -h | --help)
                usage
                exit 0
                ;;
            *) break ;;
        esac
        shift
    done
    runner_arguments=("$@")
}

# --- running -------------------------------------------------------------------------------------

run_tests() {
    local log=$1
    cd "$workspace_dir"
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --workspace --locked --no-fail-fast ${runner_arguments[@]+"${runner_arguments[@]}"} 2>&1 | tee "$log"
    else
        cargo test --workspace --lib --bins --tests --locked --no-fail-fast ${runner_arguments[@]+"${runner_arguments[@]}"} 2>&1 | tee "$log"
    fi
}

run_doc_tests() {
    # Somebody who named tests wants those.
    [[ ${#runner_arguments[@]} -eq 0 ]] || return 0
    cd "$workspace_dir"
    cargo test --workspace --doc --locked --no-fail-fast 2>&1 | tee "$1"
}

# counts <log>: the runner's own figures; cargo test prints them once per test binary, so they are added up.
counts() {
    local summary
    if [[ ! -s $1 ]]; then
        printf 'not run'
        return
    fi
    # nextest colours its output even into a pipe where CARGO_TERM_COLOR says so.
    summary=$(sed -E $'s/\x1b\\[[0-9;]*m//g' "$1" | grep -E '^ *Summary \[' | tail -n 1 | sed 's/^ *Summary *\[[^]]*\] *//') || true
    if [[ -z $summary ]]; then
        summary=$(sed -E $'s/\x1b\\[[0-9;]*m//g' "$1" | awk '
            /^test result:/ { for (i = 2; i <= NF; i++) { if ($i == "passed;") passed += $(i-1); if ($i == "failed;") failed += $(i-1); if ($i == "ignored;") ignored += $(i-1) } }
            END { printf "%d passed, %d failed, %d ignored", passed, failed, ignored }')
    fi
    printf '%s' "$summary"
}

# --- nothing left behind -------------------------------------------------------------------------

test_databases() {
    sql_in "$services_database" --command="select datname from pg_database where datname like 'bursar\_test\_%' order by 1"
}

# Roles belong to the server, and go with the database of their test.
leftover_roles() {
    sql_in "$services_database" --command="select rolname from pg_roles r where rolname like 'bursar\_test\_%'
        and not exists (select from pg_database d where d.datname = regexp_replace(r.rolname, '_owner$', '')) order by 1" |
        grep -vxF -f "$1" || true
}

# Those that did not exist before and that nobody is connected to: another run may use the same server at the same time.
leftover_databases() {
    sql_in "$services_database" --command="select datname from pg_database d where datname like 'bursar\_test\_%'
        and not exists (select from pg_stat_activity a where a.datid = d.oid) order by 1" |
        grep -vxF -f "$1" || true
}

# Seen three times in a row, a second apart: a database of another run may be between its making and its first connection.
# left_behind <which> <those before>
left_behind() {
    local which=$1 before=$2 left again attempt
    left=$("$which" "$before")
    for attempt in 1 2; do
        [[ -n $left ]] || return 0
        sleep 1
        again=$("$which" "$before")
        left=$(grep -xF -f <(printf '%s\n' "$left") <<<"$again" || true)
    done
    printf '%s' "$left"
}

# Only a private broker started for this run is ours alone, so only there does a queue prove anything.
report_left_queues() {
    local queues
    [[ ${LOCAL_SERVICES_RABBITMQ:-} == run-* ]] || return 0
    queues=$(private_rabbitmqctl "$LOCAL_SERVICES_RABBITMQ" list_queues name --no-table-headers) || return 0
    [[ -z $queues ]] || say "warning: expected no queue after the tests, found: ${queues//$'\n'/ }"
}

main() {
    local work status=0 left
    parse_options "$@"
    ensure_toolchain
    services_ensure ${service_options[@]+"${service_options[@]}"}
    ensure_private_programs
    give_tests_their_servers
    work=$(mktemp -d "${TMPDIR:-/tmp}/bursar-test.XXXXXX")
    at_exit rm -rf "$work"
    # Never empty, for grep -f with an empty file means something else on every system.
    { printf -- '-\n' && test_databases; } >"$work/databases"
    printf -- '-\n' >"$work/none"
    { printf -- '-\n' && leftover_roles "$work/none"; } >"$work/roles"

    say "building bursar and the tests (the first time takes some minutes)"
    build_bursar
    touch "$work/tests" "$work/doc"
    (run_tests "$work/tests") || status=1
    (run_doc_tests "$work/doc") || status=1

    report_left_queues
    left=$(left_behind leftover_databases "$work/databases")
    if [[ -n $left ]]; then
        status=1
        say "error: expected the tests to drop their databases, these are left: ${left//$'\n'/ }. A test does not use the testkit's database, or its process was killed. Drop them with dropdb."
    fi
    left=$(left_behind leftover_roles "$work/roles")
    if [[ -n $left ]]; then
        status=1
        say "error: expected the tests to drop their roles, these are left: ${left//$'\n'/ }. Drop them with dropuser."
    fi
    private_programs_report
    printf 'tests: %s; documentation tests: %s\n' "$(counts "$work/tests")" "$(counts "$work/doc")"
    exit "$status"
}

main "$@"
