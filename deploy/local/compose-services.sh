# shellcheck shell=bash
# Postgres and RabbitMQ in containers, where a Docker engine answers. Sourced.
#
# A compose project of its own beside whatever `docker compose up` runs: other containers, other volumes, ports that the engine
# picks. So what is removed at the end is never what somebody works with.

compose() {
    # Ports set but empty: the engine picks a free one. The password is that of a throwaway server on 127.0.0.1.
    POSTGRES_PORT='' RABBITMQ_PORT='' RABBITMQ_MANAGEMENT_PORT='' POSTGRES_PASSWORD=bursar RABBITMQ_PASSWORD=bursar \
        docker compose --project-name "$compose_project" --file "$workspace_dir/docker-compose.yml" "$@"
}

compose_project=

docker_engine_answers() {
    command -v docker >/dev/null && bounded 15 docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1
}

# compose_up <service>: starts it, or finds it kept by an earlier run.
compose_up() {
    docker_engine_answers || return 1
    compose_project=bursar-local-kept
    if [[ -n $(compose ps --quiet "$1" 2>/dev/null) ]]; then
        say "using the $1 container kept by an earlier run"
    else
        compose_project=bursar-local-$(this_instance)
        say "starting $1 in a container (compose project $compose_project)"
        [[ $keep_services == yes ]] || at_exit compose_down "$compose_project"
    fi
    if ! compose up --detach --wait "$1" >&2; then
        say "expected docker compose to bring $1 up, it did not (see above). Going on to the system's packages."
        return 1
    fi
}

# Run once per service started, harmless the second time.
compose_down() {
    compose_project=$1
    compose down --volumes --timeout 20 >/dev/null 2>&1
}

# compose_address <service> <port inside>
compose_address() {
    local address
    address=$(compose port "$1" "$2" 2>/dev/null) || return 1
    [[ $address == *:* ]] && printf '127.0.0.1:%s' "${address##*:}"
}

postgres_by_compose() {
    local address
    compose_up postgres || return 1
    address=$(compose_address postgres 5432) || return 1
    ensure_psql
    BURSAR_DATABASE_URL=postgres://bursar:bursar@$address/bursar
    may_create_databases "$BURSAR_DATABASE_URL" && return
    say "expected Postgres in its container to answer on $address, it did not. Going on to the system's packages."
    return 1
}

rabbitmq_by_compose() {
    local address
    compose_up rabbitmq || return 1
    address=$(compose_address rabbitmq 5672) || return 1
    BURSAR_AMQP_URL=amqp://bursar:bursar@$address/%2f
    amqp_login 127.0.0.1 "${address##*:}" bursar bursar && return
    say "expected RabbitMQ in its container to answer on $address, it did not. Going on to the system's packages."
    return 1
}
