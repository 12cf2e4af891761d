#!/usr/bin/env bash
# Makes sure of Postgres and RabbitMQ for the other scripts here.
#
# Sourced: services_ensure [--private] [--keep-services] [--postgres-only]
#   sets and exports BURSAR_DATABASE_URL and BURSAR_AMQP_URL. Each of the two services is decided on its own, in this order:
#   1. the variable, if it is set;
#   2. what answers on the standard local port (127.0.0.1:5432, 127.0.0.1:5672) and lets us in;
#   3. docker compose, if a Docker engine answers;
#   4. the system's packages, run as a private instance under target/local.
#   --private goes straight to 4. What this script started ends with it, unless --keep-services is given.
#
# Run: deploy/services.sh stop      ends what --keep-services left running
#
# Never: a server of the system started, stopped or configured, an existing cluster touched, an epmd ended that is not ours.

set -euo pipefail

deploy_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
workspace_dir=$(dirname "$deploy_dir")
local_dir=$workspace_dir/target/local
keep_services=no
# The server that sql_in and its like speak to: kept apart from the variable, which a caller may take out of the environment.
services_database_url=
services_database=

# shellcheck source=deploy/local/process.sh
source "$deploy_dir/local/process.sh"
# shellcheck source=deploy/local/packages.sh
source "$deploy_dir/local/packages.sh"
# shellcheck source=deploy/local/postgres-client.sh
source "$deploy_dir/local/postgres-client.sh"
# shellcheck source=deploy/local/amqp-login.sh
source "$deploy_dir/local/amqp-login.sh"
# shellcheck source=deploy/local/private-instance.sh
source "$deploy_dir/local/private-instance.sh"
# shellcheck source=deploy/local/private-postgres.sh
source "$deploy_dir/local/private-postgres.sh"
# shellcheck source=deploy/local/private-rabbitmq.sh
source "$deploy_dir/local/private-rabbitmq.sh"
# shellcheck source=deploy/local/compose-services.sh
source "$deploy_dir/local/compose-services.sh"

services_ensure() {
    local private=no rabbitmq=yes option
    for option in "$@"; do
        case $option in
            --private) private=yes ;;
            --keep-services) keep_services=yes ;;
            --postgres-only) rabbitmq=no ;;
            *) fail "services_ensure: expected --private, --keep-services or --postgres-only, got $option" ;;
        esac
    done
    sweep_abandoned_instances
    ensure_postgres "$private"
    [[ $rabbitmq == no ]] || ensure_rabbitmq "$private"
}

ensure_postgres() {
    if [[ $1 == yes ]]; then
        private_postgres
    elif ! postgres_from_environment && ! postgres_on_standard_port && ! postgres_by_compose; then
        private_postgres
    fi
    export BURSAR_DATABASE_URL
    services_database_url=$BURSAR_DATABASE_URL
    services_database=$(services_database_of "$BURSAR_DATABASE_URL")
    say "Postgres: $(without_password "$BURSAR_DATABASE_URL")"
}

ensure_rabbitmq() {
    if [[ $1 == yes ]]; then
        private_rabbitmq
    elif ! rabbitmq_from_environment && ! rabbitmq_on_standard_port && ! rabbitmq_by_compose; then
        private_rabbitmq
    fi
    export BURSAR_AMQP_URL
    say "RabbitMQ: $(without_password "$BURSAR_AMQP_URL")"
}

# Scheme and hosts of a URL, and nothing else of it; of a list, and of what is written otherwise than it should be, nothing at all.
without_password() {
    local host='(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*)(:[0-9]+)?'
    local pattern="^([a-z]+://)([^@/?#]*@)?($host(,$host)*)(/[^@#]*)?(\\?[^@#]*)?\$"
    if [[ $1 =~ $pattern && ${1#*://} != *://* ]]; then
        printf '%s%s' "${BASH_REMATCH[1]}" "${BASH_REMATCH[3]}"
    else
        printf '***'
    fi
}

# A server that was named is used or it is an error: silently taking another would be worse than stopping.
postgres_from_environment() {
    [[ -n ${BURSAR_DATABASE_URL:-} ]] || return 1
    ensure_psql
    may_create_databases "$BURSAR_DATABASE_URL" ||
        fail "expected $(without_password "$BURSAR_DATABASE_URL") (BURSAR_DATABASE_URL) to answer and its login to be allowed to create databases and roles; it did not answer or is not. Correct it, or unset it to have a server found or started."
}

rabbitmq_from_environment() { [[ -n ${BURSAR_AMQP_URL:-} ]]; }

# The logins that a Postgres made for development usually has: the user's own, then the superuser without and with the password of
# the published image. LOCAL_SERVICES_*_PORT: for trying out the order of services_ensure where the standard ports are taken.
postgres_on_standard_port() {
    local port=${LOCAL_SERVICES_POSTGRES_PORT:-5432} login url
    port_open 127.0.0.1 "$port" || return 1
    ensure_psql
    for login in "$(id -un)" postgres postgres:postgres; do
        url=postgres://$login@127.0.0.1:$port/postgres
        if may_create_databases "$url"; then
            BURSAR_DATABASE_URL=$url
            return
        fi
    done
    say "something answers on 127.0.0.1:$port, but not as a Postgres that lets $(id -un) or postgres create databases. To use it, set BURSAR_DATABASE_URL. Going on without it."
    return 1
}

rabbitmq_on_standard_port() {
    local port=${LOCAL_SERVICES_RABBITMQ_PORT:-5672}
    port_open 127.0.0.1 "$port" || return 1
    if amqp_login 127.0.0.1 "$port" guest guest; then
        BURSAR_AMQP_URL=amqp://guest:guest@127.0.0.1:$port/%2f
        return
    fi
    say "something answers on 127.0.0.1:$port, but not as a RabbitMQ that lets guest in. To use it, set BURSAR_AMQP_URL. Going on without it."
    return 1
}

# What is the user's own must reach neither tests nor the demonstration: a key of a live processor least of all.
forget_user_settings() {
    local name
    for name in "${!BURSAR_@}"; do
        case $name in
            BURSAR_TEST_* | BURSAR_FAULTS | BURSAR_FAULTS_TABLE | BURSAR_LOG | BURSAR_LOG_FORMAT) ;;
            *) unset "$name" ;;
        esac
    done
}

# Programs of servers that tests start for themselves, wherever the others run.
private_programs_found() { [[ -z $(private_programs_missing) ]]; }

private_programs_missing() {
    local missing=()
    postgres_programs >/dev/null || missing+=("initdb")
    rabbitmq_programs >/dev/null || missing+=("rabbitmq-server")
    [[ -n $(epmd_program) ]] || missing+=("epmd")
    printf '%s' "${missing[*]-}"
}

# Installs what is missing, where that may be done. The tests that need it say that they were not run where it may not.
ensure_private_programs() {
    if private_programs_found; then return; fi
    # In a shell of its own, since what cannot be installed ends it; without the steps at exit of this one.
    if (exit_steps=() && ensure_postgres_programs && ensure_rabbitmq_programs) && private_programs_found; then return; fi
    export BURSAR_TEST_PRIVATE_SERVERS=missing
}

# private_programs_report: the last word of a run whose tests had no servers to break.
private_programs_report() {
    [[ ${BURSAR_TEST_PRIVATE_SERVERS:-} != missing ]] ||
        printf 'NOT RUN: the fault tests, which start servers of their own. Install PostgreSQL and RabbitMQ for them (missing: %s).\n' "$(private_programs_missing)"
}

# Tests get their servers under names that the binary does not read, and nothing of the user's: what a test forgets to set must be
# missing, not somebody's live database.
give_tests_their_servers() {
    export BURSAR_TEST_DATABASE_URL=$BURSAR_DATABASE_URL BURSAR_TEST_AMQP_URL=$BURSAR_AMQP_URL
    forget_user_settings
    export SQLX_OFFLINE=true
    unset DATABASE_URL
}

services_stop() {
    sweep_abandoned_instances
    stop_instance kept rabbitmq
    stop_instance kept postgres
    if docker_engine_answers; then compose_down bursar-local-kept; fi
    say "no private service is left running"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    [[ ${1:-} == stop && $# -eq 1 ]] || fail "usage: deploy/services.sh stop (expected \`stop\`, got \`$*\`)"
    services_stop
fi
