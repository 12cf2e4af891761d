#!/usr/bin/env bash
# The story of the README on this machine: makes sure of Postgres and RabbitMQ, builds Bursar, runs `bursar demo` in a database
# and a broker namespace of its own, and removes both.
set -euo pipefail

# shellcheck source=deploy/services.sh
source "$(dirname "${BASH_SOURCE[0]}")/services.sh"
# shellcheck source=deploy/local/toolchain.sh
source "$deploy_dir/local/toolchain.sh"

usage() {
    cat <<'USAGE'
usage: deploy/demo.sh [--private] [--keep] [--keep-services]

  --private        start a private Postgres and RabbitMQ even where others answer
  --keep           leave the fleet running at the end; the database and the services stay too
  --keep-services  leave private services running for the next call; `deploy/services.sh stop` ends them
USAGE
}

parse_options() {
    local option
    service_options=()
    demo_options=()
    keep=no
    for option in "$@"; do
        case $option in
            --private | --keep-services) service_options+=("$option") ;;
            --keep)
                keep=yes
                service_options+=(--keep-services)
                demo_options+=(--keep)
                ;;
            -h | --help)
                usage
                exit 0
                ;;
            *)
                usage >&2
                say "error: expected one of the options above, got $option"
                exit 2
                ;;
        esac
    done
}

make_database() {
    database_create "$1"
    if [[ $keep == yes ]]; then
        say "the database $1 stays; drop it when you are done with it"
    else
        at_exit database_drop "$1"
    fi
}

run_demo() {
    local name
    name=$(random_hex 4)
    make_database "bursar_demo_$name"
    forget_user_settings
    BURSAR_DATABASE_URL=$(database_url "bursar_demo_$name") BURSAR_AMQP_URL=$amqp_url BURSAR_NAMESPACE=bursar-demo-$name \
        "$bursar_binary" demo ${demo_options[@]+"${demo_options[@]}"}
}

parse_options "$@"
# Before anything is started or installed: the cheapest thing that can be missing.
ensure_toolchain
services_ensure ${service_options[@]+"${service_options[@]}"}
amqp_url=$BURSAR_AMQP_URL
say "building bursar (the first time takes some minutes)"
build_bursar
run_demo
