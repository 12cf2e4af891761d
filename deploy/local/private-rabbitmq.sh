# shellcheck shell=bash
# A RabbitMQ of our own: own node name, own epmd, own cookie, free ports on 127.0.0.1, no plugins. Sourced.
#
# Debian's rabbitmq-server in PATH is a wrapper that switches to the packaged user and its directories; the package's own script
# below /usr/lib does neither. epmd, which every Erlang node of a host shares by default, gets a port of its own
# here: the machine's is never spoken to, and ours can be ended without asking who else uses it.

rabbitmq_programs() {
    local directory
    for directory in /usr/lib/rabbitmq/bin /opt/homebrew/opt/rabbitmq/sbin /usr/local/opt/rabbitmq/sbin; do
        if [[ -x $directory/rabbitmq-server ]]; then
            printf '%s' "$directory"
            return
        fi
    done
    directory=$(command -v rabbitmq-server) || return 1
    # A wrapper that changes user has no rabbitmq-env beside it.
    directory=$(dirname "$directory")
    [[ -e $directory/rabbitmq-env ]] && printf '%s' "$directory"
}

epmd_program() {
    local program
    for program in "$(command -v epmd)" /usr/lib/erlang/bin/epmd /usr/lib/erlang/erts-*/bin/epmd /opt/homebrew/opt/erlang/lib/erlang/bin/epmd; do
        if [[ -x $program ]]; then
            printf '%s' "$program"
            return
        fi
    done
}

private_rabbitmq() {
    if reuse_kept_rabbitmq; then return; fi
    ensure_rabbitmq_programs
    launch_private_rabbitmq
    await_private_rabbitmq
}

ensure_rabbitmq_programs() {
    if rabbitmq_programs >/dev/null; then return; fi
    install_packages "RabbitMQ" "rabbitmq-server" "rabbitmq"
    not_at_boot rabbitmq-server.service epmd.service epmd.socket
    rabbitmq_programs >/dev/null ||
        fail "expected rabbitmq-server after installing RabbitMQ, found none. Install RabbitMQ by hand, or set BURSAR_AMQP_URL."
}

# Starts it and does not wait: a node takes some seconds to come up.
launch_private_rabbitmq() {
    local directory instance
    instance=$(this_instance)
    stop_instance "$instance" rabbitmq
    choose_user rabbitmq
    directory=$(instance_directory "$instance" rabbitmq)
    lay_out_node "$instance" "$directory"
    remember_to_stop rabbitmq
    say "starting a private RabbitMQ on 127.0.0.1:$(state_get "$instance" rabbitmq port)"
    start_epmd "$instance" "$directory"
    start_node "$instance" "$directory"
}

await_private_rabbitmq() {
    local instance
    instance=$(this_instance)
    wait_for_node "$instance" ||
        give_up rabbitmq "$(state_get "$instance" rabbitmq directory)/out.log" BURSAR_AMQP_URL
    use_rabbitmq_of "$instance"
}

use_rabbitmq_of() {
    BURSAR_AMQP_URL=$(state_get "$1" rabbitmq url)
    # For scripts called from this one, which see the environment alone.
    export LOCAL_SERVICES_RABBITMQ=$1
}

# lay_out_node <instance> <directory>
lay_out_node() {
    local port
    port=$(free_port)
    state_put "$1" rabbitmq "directory=$2" "node=bursar-$(random_hex 4)@localhost" "port=$port" \
        "distribution_port=$(free_port)" "epmd_port=$(free_port)" "url=amqp://guest:guest@127.0.0.1:$port/%2f"
    as_user mkdir "$2/home" "$2/data" "$2/log"
    as_user tee "$2/rabbitmq.conf" >/dev/null <<CONFIGURATION
listeners.tcp.local = 127.0.0.1:$port
CONFIGURATION
    printf '[].\n' | as_user tee "$2/enabled_plugins" >/dev/null
    as_user touch "$2/out.log" "$2/environment.conf"
}

# node_environment <instance> <directory> <program> [argument...]: nothing is inherited, so that neither the machine's
# /etc/rabbitmq nor the caller's variables reach the node.
node_environment() {
    local instance=$1 directory=$2
    shift 2
    exec ${run_as[@]+"${run_as[@]}"} env -i PATH="$PATH" LANG=C.UTF-8 HOME="$directory/home" \
        ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT="$(state_get "$instance" rabbitmq epmd_port)" \
        RABBITMQ_NODENAME="$(state_get "$instance" rabbitmq node)" \
        RABBITMQ_DIST_PORT="$(state_get "$instance" rabbitmq distribution_port)" \
        RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="$(state_get "$instance" rabbitmq port)" \
        RABBITMQ_MNESIA_BASE="$directory/data" RABBITMQ_MNESIA_DIR="$directory/data/node" \
        RABBITMQ_LOG_BASE="$directory/log" RABBITMQ_LOGS="$directory/log/node.log" \
        RABBITMQ_CONF_ENV_FILE="$directory/environment.conf" RABBITMQ_CONFIG_FILE="$directory/rabbitmq.conf" \
        RABBITMQ_ADVANCED_CONFIG_FILE="$directory/advanced.config" RABBITMQ_ENABLED_PLUGINS_FILE="$directory/enabled_plugins" \
        RABBITMQ_PID_FILE="$directory/node.pid" RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}" \
        "$@"
}

# Started by us and before the node, and waited for: a node that finds none starts one, which outlives it.
start_epmd() {
    local epmd deadline=$((SECONDS + 30))
    epmd=$(epmd_program)
    [[ -n $epmd ]] || fail "expected epmd (part of Erlang) beside RabbitMQ, found none. Install Erlang's epmd, or set BURSAR_AMQP_URL."
    (
        cd "$2" || exit
        node_environment "$1" "$2" nohup "$epmd" -address 127.0.0.1 -port "$(state_get "$1" rabbitmq epmd_port)"
    ) </dev/null >/dev/null 2>&1 &
    state_put "$1" rabbitmq "epmd_pid=$!"
    until port_open 127.0.0.1 "$(state_get "$1" rabbitmq epmd_port)"; do
        ((SECONDS < deadline)) || fail "expected epmd to listen within 30 s, it does not. Set BURSAR_AMQP_URL to do without a private RabbitMQ."
        sleep 0.05
    done
}

# The flag -bursar_local means nothing to Erlang; it marks the process as ours for is_process.
start_node() {
    (
        cd "$2" || exit
        node_environment "$1" "$2" nohup "$(rabbitmq_programs)/rabbitmq-server" -bursar_local "$2"
    ) </dev/null >>"$local_dir/$1/rabbitmq/out.log" 2>&1 &
    state_put "$1" rabbitmq "pid=$!"
}

wait_for_node() {
    local pid port deadline=$((SECONDS + 120))
    pid=$(state_get "$1" rabbitmq pid)
    port=$(state_get "$1" rabbitmq port)
    until amqp_login 127.0.0.1 "$port" guest guest; do
        process_alive "$pid" && ((SECONDS < deadline)) || return 1
        sleep 0.5
    done
}

reuse_kept_rabbitmq() {
    is_process "$(state_get kept rabbitmq pid)" "-bursar_local $(state_get kept rabbitmq directory)" || return 1
    amqp_login 127.0.0.1 "$(state_get kept rabbitmq port)" guest guest || return 1
    say "using the private RabbitMQ kept by an earlier run"
    use_rabbitmq_of kept
}

# private_rabbitmqctl <instance> <argument>...
private_rabbitmqctl() {
    local instance=$1 directory
    shift
    directory=$(state_get "$instance" rabbitmq directory)
    choose_user rabbitmq
    (cd "$directory" && node_environment "$instance" "$directory" "$(rabbitmq_programs)/rabbitmqctl" --quiet "$@")
}

# stop_private_rabbitmq <instance>. SIGTERM to the script is an orderly shutdown of the node below it; a script that had to be
# killed leaves the node, whose id is in its own file.
stop_private_rabbitmq() {
    local directory marker node_pid status=0
    directory=$(state_get "$1" rabbitmq directory)
    [[ -n $directory ]] || return 0
    marker="-bursar_local $directory"
    node_pid=$(cat "$directory/node.pid" 2>/dev/null) || node_pid=
    stop_process "$(state_get "$1" rabbitmq pid)" "$marker" TERM KILL || status=1
    stop_process "$node_pid" "$marker" TERM KILL || status=1
    stop_process "$(state_get "$1" rabbitmq epmd_pid)" "-port $(state_get "$1" rabbitmq epmd_port)" TERM KILL || status=1
    return "$status"
}
