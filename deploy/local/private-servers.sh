#!/usr/bin/env bash
# A private Postgres and a private RabbitMQ that obey commands: what the fault tests break. Nothing else may use them.
#
# Run: deploy/local/private-servers.sh. Both are started on free ports of 127.0.0.1; then the first line on stdout is
# `ready <url of Postgres> <url of RabbitMQ>`. After it, each line on stdin is a command, answered by one line on stdout
# that begins with `ok` or `error`:
#   postgres stop-immediate    as if its machine had lost power: sessions cut, no checkpoint
#   postgres start             on the same port and data; answered once it takes connections
#   postgres disk <MiB>        mounts a disk of this size, or resizes it, and answers with its directory (for a tablespace)
#   rabbitmq kill              SIGKILL to the node
#   rabbitmq start             on the same port and data; answered once it lets a client in
#   rabbitmq ctl <argument>... rabbitmqctl, answered with its output on one line
# At the end of stdin both are ended and all they wrote is removed, so a test that is killed leaves nothing.
#
# Never installs anything: deploy/test.sh does, before it runs the tests.

set -euo pipefail

# shellcheck source=deploy/services.sh
source "$(dirname "${BASH_SOURCE[0]}")/../services.sh"

instance=$(this_instance)
# Answers alone go to stdout, and no server inherits it: who reads must see its end with this script's.
exec 9>&1 1>&2

main() {
    private_programs_found ||
        fail "expected the programs of PostgreSQL and RabbitMQ, found $(private_programs_missing) missing. Run deploy/test.sh, which installs them where it may, or install them by hand (Debian: postgresql, rabbitmq-server; brew: postgresql@17, rabbitmq)."
    sweep_abandoned_instances
    launch_private_rabbitmq 9>&-
    start_private_postgres 9>&-
    await_private_rabbitmq
    await_boot
    at_exit end_at_once
    answer "ready $BURSAR_DATABASE_URL $BURSAR_AMQP_URL"
    while read -r line; do
        obey "$line"
    done
}

answer() { printf '%s\n' "$*" >&9; }

# obey <line>: what fails is answered too, so that nobody waits for it.
obey() {
    local said words
    read -ra words <<<"$1"
    if said=$(carry_out "${words[@]}" 2>&1 9>&-); then
        answer "ok ${said//$'\n'/ | }"
    else
        answer "error $1: ${said//$'\n'/ | }"
    fi
}

carry_out() {
    case "$1 ${2:-}" in
        "postgres stop-immediate") postgres_control stop --mode=immediate ;;
        "postgres start") postgres_start ;;
        "postgres disk") postgres_disk "$3" ;;
        "rabbitmq kill") rabbitmq_kill ;;
        "rabbitmq start") rabbitmq_start ;;
        "rabbitmq ctl") private_rabbitmqctl "$instance" "${@:3}" </dev/null ;;
        *) fail "expected one of the commands that $0 begins with" ;;
    esac
}

postgres_directory() { state_get "$instance" postgres directory; }

postgres_control() {
    local directory
    directory=$(postgres_directory)
    choose_user postgres
    (cd "$directory" && as_user "$(postgres_programs)/pg_ctl" "$1" --pgdata="$directory/data" "${@:2}" >/dev/null)
}

postgres_start() {
    local directory
    directory=$(postgres_directory)
    choose_user postgres
    start_cluster "$(postgres_programs)" "$directory"
    state_put "$instance" postgres "pid=$(head -n 1 "$directory/data/postmaster.pid")"
}

postgres_disk() {
    local directory
    directory=$(postgres_directory)
    choose_user postgres
    mount_small_disk "$directory" "$1"
    printf '%s' "$directory/small"
}

# The node writes its own id; the script that started it ends with it.
rabbitmq_kill() {
    local directory pid
    directory=$(state_get "$instance" rabbitmq directory)
    pid=$(cat "$directory/node.pid")
    is_process "$pid" "-bursar_local $directory" || fail "the node does not run"
    kill -KILL "$pid"
    wait_until_gone "$pid" 10
    wait_until_gone "$(state_get "$instance" rabbitmq pid)" 10
    rm -f "$directory/node.pid"
}

rabbitmq_start() {
    local directory
    directory=$(state_get "$instance" rabbitmq directory)
    choose_user rabbitmq
    : >"$directory/out.log"
    start_node "$instance" "$directory"
    wait_for_node "$instance"
    await_boot
}

# A node lets clients in before it has written down that it is whole: killed in between, it does not start again.
await_boot() {
    local log deadline=$((SECONDS + 60))
    log=$(state_get "$instance" rabbitmq directory)/out.log
    until grep -q 'completed with' "$log"; do
        ((SECONDS < deadline)) || fail "expected the node to end its start within 60 s"
        sleep 0.1
    done
}

# What they keep is thrown away, so nothing is settled before they end.
end_at_once() {
    postgres_control stop --mode=immediate 2>/dev/null || true
    (rabbitmq_kill) 2>/dev/null || true
}

main
