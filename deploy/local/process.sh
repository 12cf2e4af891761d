# shellcheck shell=bash
# What every script here needs of the shell: messages, steps at exit, deadlines, and the care of processes by their id.
# Sourced. Runs under bash 3.2 too, which is what macOS ships.

say() { printf 'bursar: %s\n' "$*" >&2; }

fail() {
    printf 'bursar: error: %s\n' "$*" >&2
    exit 1
}

# --- steps at exit -------------------------------------------------------------------------------

exit_steps=()

# at_exit <command> [argument...]: run when the script ends, however it ends; the last one added runs first, so what was
# started last (a database on a server) goes before what it stands on.
at_exit() {
    local step
    step=$(printf '%q ' "$@")
    exit_steps+=("$step")
    trap run_exit_steps EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
}

run_exit_steps() {
    local status=$? index
    trap - EXIT
    # A second Ctrl-C must not leave servers behind; every step below has a deadline of its own.
    trap '' INT TERM HUP
    for ((index = ${#exit_steps[@]} - 1; index >= 0; index--)); do
        if ! eval "${exit_steps[index]}"; then
            say "could not clean up: ${exit_steps[index]}"
            [[ $status -ne 0 ]] || status=1
        fi
    done
    exit "$status"
}

# --- waiting -------------------------------------------------------------------------------------

# bounded <seconds> <program> [argument...]: macOS has no timeout(1) but has perl.
bounded() {
    local seconds=$1
    shift
    if command -v timeout >/dev/null; then
        timeout "$seconds" "$@"
    else
        perl -e 'alarm shift; exec @ARGV or exit 127' "$seconds" "$@"
    fi
}

random_hex() { od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }

# --- ports ---------------------------------------------------------------------------------------

port_open() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

# Below the ephemeral range of Linux and macOS, so that no outgoing connection takes the port between this look and its use.
free_port() {
    local attempt port
    for ((attempt = 0; attempt < 100; attempt++)); do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        if ! port_open 127.0.0.1 "$port"; then
            printf '%s' "$port"
            return
        fi
    done
    fail "expected a free port between 20000 and 31999 on 127.0.0.1, found none in 100 tries. Free some and run again."
}

# --- processes -----------------------------------------------------------------------------------

# A zombie is gone: in a container without an init nobody reaps it, and kill -0 would call it alive for ever.
process_alive() {
    local status
    kill -0 "$1" 2>/dev/null || process_of_another_user "$1" || return 1
    if [[ -r /proc/$1/stat ]]; then
        status=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) || return 1
    else
        status=$(ps -o stat= -p "$1" 2>/dev/null) || return 1
    fi
    [[ $status != Z* && -n $status ]]
}

process_of_another_user() { [[ -d /proc/$1 ]] || ps -p "$1" >/dev/null 2>&1; }

process_arguments() {
    if [[ -r /proc/$1/cmdline ]]; then
        tr '\0' ' ' <"/proc/$1/cmdline"
    else
        ps -ww -o args= -p "$1"
    fi 2>/dev/null
}

# is_process <pid> <marker>: process ids are used again, so an id alone proves nothing; its command line must carry the marker.
is_process() {
    [[ -n $1 ]] && process_alive "$1" && [[ " $(process_arguments "$1")" == *"$2"* ]]
}

wait_until_gone() {
    local pid=$1 deadline=$((SECONDS + $2))
    while process_alive "$pid"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.2
    done
}

# stop_process <pid> <marker> <signal>...: each signal in turn, until the process is gone.
stop_process() {
    local pid=$1 marker=$2 signal
    shift 2
    is_process "$pid" "$marker" || return 0
    for signal in "$@"; do
        kill -s "$signal" "$pid" 2>/dev/null || true
        if wait_until_gone "$pid" 25; then return 0; fi
        say "process $pid ($marker) is still there 25 s after SIG$signal"
    done
    return 1
}
