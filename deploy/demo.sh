#!/usr/bin/env bash
# The story of the README on this machine: makes sure of Postgres and RabbitMQ, builds Bursar and runs `bursar demo`, which makes
# a database and a broker namespace of its own and removes both.
set -euo pipefail

# shellcheck source=deploy/services.sh
source "$(dirname "${BASH_SOURCE[0]}")/services.sh"
# shellcheck source=deploy/local/toolchain.sh
source "$deploy_dir/local/toolchain.sh"

usage() {
    cat <<'USAGE'
usage: deploy/demo.sh [--private] [--keep] [--keep-services]

  --private        start a private Postgres and RabbitMQ even where others answer
  --keep           leave the fleet running at the end, until Ctrl-C
  --keep-services  leave private services running for the next call; `deploy/services.sh stop` ends them
USAGE
}

parse_options() {
    local option
    service_options=()
    demo_options=()
    for option in "$@"; do
        case $option in
            --private | --keep-services) service_options+=("$option") ;;
            --keep) demo_options+=(--keep) ;;
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

run_demo() {
    local server=$BURSAR_DATABASE_URL broker=$BURSAR_AMQP_URL
    forget_user_settings
    BURSAR_DATABASE_URL=$server BURSAR_AMQP_URL=$broker "$bursar_binary" demo ${demo_options[@]+"${demo_options[@]}"}
}

parse_options "$@"
# Before anything is started or installed: the cheapest thing that can be missing.
ensure_toolchain
services_ensure ${service_options[@]+"${service_options[@]}"}
say "building bursar (the first time takes some minutes)"
build_bursar
run_demo
