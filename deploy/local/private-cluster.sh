#!/usr/bin/env bash
# A private RabbitMQ of three nodes and a private Postgres of a primary and a synchronous standby, which obey commands: what
# the tests of failovers break. Nothing else may use them.
#
# Run: deploy/local/private-cluster.sh. All are started on free ports of 127.0.0.1; then the first line on stdout is
# `ready <url of Postgres> <url of RabbitMQ>`, each with all its hosts. After it, each line on stdin is a command, answered by
# one line on stdout that begins with `ok` or `error`:
#   rabbitmq names              the three nodes' names
#   rabbitmq kill <1-3>         SIGKILL to a node
#   rabbitmq start <1-3>        on the same port and data; answered once it lets a client in
#   rabbitmq whole              answered once every queue could lose any one node
#   rabbitmq ctl <1-3> <argument>...   rabbitmqctl at a node, answered with its output on one line
#   postgres kill               SIGKILL to the primary
#   postgres promote            the standby becomes the primary, and waits for nobody
#   postgres rejoin             the old primary comes back as a synchronous standby, with a copy of the new one's data
# At the end of stdin all are ended and all they wrote is removed.
#
# Never installs anything: deploy/test.sh does, before it runs the tests.

set -euo pipefail

# shellcheck source=deploy/services.sh
source "$(dirname "${BASH_SOURCE[0]}")/../services.sh"

# Each server is an instance of its own; the first number is this script's process, by which others see that it lives.
member=1
this_instance() { instance_of "$member"; }
instance_of() { printf 'run-%s-%s' "$$" "$1"; }

nodes=(1 2 3)
# The members of Postgres that are primary and standby just now.
primary=1
standby=2
password=$(random_hex 16)

# Answers alone go to stdout, and no server inherits it: who reads must see its end with this script's.
exec 9>&1 1>&2

main() {
    private_programs_found ||
        fail "expected the programs of PostgreSQL and RabbitMQ, found $(private_programs_missing) missing. Run deploy/test.sh, which installs them where it may, or install them by hand (Debian: postgresql, rabbitmq-server; brew: postgresql@17, rabbitmq)."
    sweep_abandoned_instances
    launch_nodes 9>&-
    start_pair 9>&-
    join_nodes 9>&-
    at_exit end_at_once
    answer "ready $(database_hosts) $(broker_hosts)"
    while read -r line; do
        obey "$line"
    done
}

answer() { printf '%s\n' "$*" >&9; }

# obey <line>: what fails is answered too, so that nobody waits for it. Not in a shell of its own: who is primary is remembered.
obey() {
    local said words output
    read -ra words <<<"$1"
    output=$(mktemp "${TMPDIR:-/tmp}/bursar-cluster.XXXXXX")
    if carry_out "${words[@]}" >"$output" 2>&1 9>&-; then
        said=$(<"$output")
        answer "ok ${said//$'\n'/ | }"
    else
        said=$(<"$output")
        answer "error $1: ${said//$'\n'/ | }"
    fi
    rm -f "$output"
}

carry_out() {
    case "$1 ${2:-}" in
        "rabbitmq names") for member in "${nodes[@]}"; do state_get "$(this_instance)" rabbitmq node; done ;;
        "rabbitmq kill") (member=$3 && rabbitmq_kill) ;;
        "rabbitmq start") (member=$3 && rabbitmq_start) ;;
        "rabbitmq whole") rabbitmq_whole ;;
        "rabbitmq ctl") private_rabbitmqctl "$(instance_of "$3")" "${@:4}" </dev/null ;;
        "postgres kill") postgres_kill ;;
        "postgres promote") postgres_promote ;;
        "postgres rejoin") postgres_rejoin ;;
        *) (fail "expected one of the commands that $0 begins with") ;;
    esac
}

# --- RabbitMQ ------------------------------------------------------------------------------------

launch_nodes() {
    local directory cookie epmd_port=
    cookie=$(random_hex 16)
    for member in "${nodes[@]}"; do
        choose_user rabbitmq
        directory=$(instance_directory "$(this_instance)" rabbitmq)
        lay_out_node "$(this_instance)" "$directory"
        printf '%s' "$cookie" | as_user tee "$directory/home/.erlang.cookie" >/dev/null
        as_user chmod 400 "$directory/home/.erlang.cookie"
        remember_to_stop rabbitmq
        # One epmd for all: by it they find each other.
        if [[ -z $epmd_port ]]; then
            start_epmd "$(this_instance)" "$directory"
            epmd_port=$(state_get "$(this_instance)" rabbitmq epmd_port)
        else
            state_put "$(this_instance)" rabbitmq "epmd_port=$epmd_port"
        fi
        say "starting node $member of a private RabbitMQ on 127.0.0.1:$(state_get "$(this_instance)" rabbitmq port)"
        start_node "$(this_instance)" "$directory"
    done
}

join_nodes() {
    local first
    first=$(state_get "$(instance_of 1)" rabbitmq node)
    for member in "${nodes[@]}"; do
        await_private_rabbitmq
        await_boot
        [[ $member != 1 ]] || continue
        private_rabbitmqctl "$(this_instance)" stop_app </dev/null
        private_rabbitmqctl "$(this_instance)" reset </dev/null
        private_rabbitmqctl "$(this_instance)" join_cluster "$first" </dev/null
        private_rabbitmqctl "$(this_instance)" start_app </dev/null
    done
    for member in "${nodes[@]}"; do wait_for_node "$(this_instance)"; done
}

broker_hosts() {
    local hosts=()
    for member in "${nodes[@]}"; do hosts+=("127.0.0.1:$(state_get "$(this_instance)" rabbitmq port)"); done
    local IFS=,
    printf 'amqp://guest:guest@%s/%%2f' "${hosts[*]}"
}

# The node writes its own id; the script that started it ends with it.
rabbitmq_kill() {
    local directory pid
    directory=$(state_get "$(this_instance)" rabbitmq directory)
    pid=$(cat "$directory/node.pid")
    is_process "$pid" "-bursar_local $directory" || fail "the node does not run"
    kill -KILL "$pid"
    wait_until_gone "$pid" 10
    wait_until_gone "$(state_get "$(this_instance)" rabbitmq pid)" 10
    rm -f "$directory/node.pid"
}

rabbitmq_start() {
    local directory
    directory=$(state_get "$(this_instance)" rabbitmq directory)
    choose_user rabbitmq
    : >"$directory/out.log"
    start_node "$(this_instance)" "$directory"
    wait_for_node "$(this_instance)"
    await_boot
}

# A node lets clients in before it has written down that it is whole: killed in between, it does not start again.
await_boot() {
    local log deadline=$((SECONDS + 120))
    log=$(state_get "$(this_instance)" rabbitmq directory)/out.log
    until grep -q 'completed with' "$log"; do
        ((SECONDS < deadline)) || fail "expected the node to end its start within 120 s"
        sleep 0.1
    done
}

rabbitmq_whole() {
    local directory deadline=$((SECONDS + 120))
    for member in "${nodes[@]}"; do
        directory=$(state_get "$(this_instance)" rabbitmq directory)
        choose_user rabbitmq
        until (cd "$directory" && node_environment "$(this_instance)" "$directory" "$(rabbitmq_programs)/rabbitmq-queues" \
            --quiet check_if_node_is_quorum_critical </dev/null >/dev/null); do
            ((SECONDS < deadline)) || return 1
            sleep 0.5
        done
    done
}

# --- Postgres ------------------------------------------------------------------------------------

postgres_directory() { state_get "$(instance_of "$1")" postgres directory; }

postgres_port() { state_get "$(instance_of "$1")" postgres port; }

url_of() { printf 'postgres://postgres:%s@127.0.0.1:%s/postgres' "$password" "$(postgres_port "$1")"; }

database_hosts() {
    printf 'postgres://postgres:%s@127.0.0.1:%s,127.0.0.1:%s/postgres' "$password" "$(postgres_port 1)" "$(postgres_port 2)"
}

start_pair() {
    local programs port directory
    programs=$(postgres_programs)
    for member in 1 2; do
        choose_user postgres
        port=$(free_port)
        directory=$(instance_directory "$(this_instance)" postgres)
        state_put "$(this_instance)" postgres "directory=$directory" "port=$port"
        remember_to_stop postgres
    done
    make_cluster "$programs" "$(postgres_directory 1)" "$(postgres_port 1)" "$password" ||
        fail "expected a private Postgres to be made, see $(postgres_directory 1)/log"
    ensure_psql
    start_member 1
    copy_to_standby
}

# start_member <1|2>
start_member() {
    local directory
    directory=$(postgres_directory "$1")
    choose_user postgres
    say "starting member $1 of a private Postgres on 127.0.0.1:$(postgres_port "$1")"
    start_cluster "$(postgres_programs)" "$directory"
    state_put "$(instance_of "$1")" postgres "pid=$(head -n 1 "$directory/data/postmaster.pid")"
}

# The standby gets the primary's data and its changes; then commits wait for it.
copy_to_standby() {
    local directory programs
    programs=$(postgres_programs)
    directory=$(postgres_directory "$standby")
    choose_user postgres
    (
        cd "$directory"
        as_user "$programs/pg_basebackup" --pgdata="$directory/data" --wal-method=stream --checkpoint=fast --no-sync \
            --dbname="$(url_of "$primary")"
        as_user sed -i '/^synchronous_standby_names/d' "$directory/data/postgresql.auto.conf"
        as_user touch "$directory/data/standby.signal"
        as_user tee -a "$directory/data/postgresql.conf" >/dev/null <<SETTINGS
port = $(postgres_port "$standby")
primary_conninfo = '$(url_of "$primary")?application_name=member$standby'
SETTINGS
    )
    start_member "$standby"
    psql_at "$(url_of "$primary")" --command="alter system set synchronous_standby_names = 'ANY 1 (member1, member2)'"
    psql_at "$(url_of "$primary")" --command="select pg_reload_conf()" >/dev/null
    await_standby
}

await_standby() {
    local deadline=$((SECONDS + 60))
    until [[ $(psql_at "$(url_of "$primary")" --command="select count(*) from pg_stat_replication where sync_state = 'quorum'") == 1 ]]; do
        ((SECONDS < deadline)) || fail "expected the standby to follow within 60 s"
        sleep 0.1
    done
}

postgres_kill() {
    local pid
    pid=$(state_get "$(instance_of "$primary")" postgres pid)
    is_process "$pid" "$(postgres_directory "$primary")/data" || return 1
    kill -KILL "$pid"
    wait_until_gone "$pid" 10
}

# Its own setting names no standby, so it does not wait for one.
postgres_promote() {
    local directory old=$primary
    directory=$(postgres_directory "$standby")
    choose_user postgres
    (cd "$directory" && as_user "$(postgres_programs)/pg_ctl" promote --pgdata="$directory/data" --wait --timeout=60 >/dev/null)
    primary=$standby
    standby=$old
}

postgres_rejoin() {
    rm -rf "$(postgres_directory "$standby")/data"
    copy_to_standby
}

# What they keep is thrown away, so nothing is settled before they end.
end_at_once() {
    local directory
    for member in "${nodes[@]}"; do (rabbitmq_kill) 2>/dev/null || true; done
    for member in 1 2; do
        directory=$(postgres_directory "$member")
        choose_user postgres
        (cd "$directory" && as_user "$(postgres_programs)/pg_ctl" stop --mode=immediate --pgdata="$directory/data" >/dev/null 2>&1) || true
    done
}

main
