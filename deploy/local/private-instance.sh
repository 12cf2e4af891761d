# shellcheck shell=bash
# What private Postgres and private RabbitMQ have in common: where they live, what is remembered of them, and as whom they run.
# Sourced.
#
#   target/local/run-<pid>/   what the script with this process id started; gone when it ends. run-<pid>-<n>: one of several
#   target/local/kept/        what --keep-services left running; used again by the next call, ended by `deploy/services.sh stop`
#   .../<service>             its directory, or a link to one elsewhere (see instance_directory)
#   .../<service>.state       its url and process ids, as lines of key=value
#
# Two scripts at once never share what one of them will stop.

# state_get <instance> <service> <key>
state_get() { sed -n "s/^$3=//p" "$local_dir/$1/$2.state" 2>/dev/null || true; }

# state_put <instance> <service> <key=value>...: in the place of what was there under these keys (a server started again has
# another process id). Readable by its owner alone, for it holds a password; replaced as a whole, for others read it meanwhile.
state_put() {
    local file=$local_dir/$1/$2.state kept pair
    shift 2
    kept=$(cat "$file" 2>/dev/null) || kept=
    for pair in "$@"; do
        kept=$(grep -v "^${pair%%=*}=" <<<"$kept") || true
    done
    (umask 077 && printf '%s\n' ${kept:+"$kept"} "$@" >"$file.new" && mv "$file.new" "$file")
}

this_instance() { if [[ $keep_services == yes ]]; then printf kept; else printf 'run-%s' "$$"; fi; }

# Both servers refuse root or are better off without it. `run_as` is the words to put before a command.
run_as=()

# choose_user <name>: the packaged user if there is one, else nobody.
choose_user() {
    local user=$1
    run_as=()
    [[ $(id -u) -eq 0 ]] || return 0
    id -u "$user" >/dev/null 2>&1 || user=nobody
    command -v setpriv >/dev/null ||
        fail "expected setpriv (util-linux) to give up root before starting a server, found none. Run this as an ordinary user."
    run_as=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --clear-groups)
}

as_user() { ${run_as[@]+"${run_as[@]}"} "$@"; }

# instance_directory <instance> <service>: makes the directory, owned by the chosen user, and prints its path. A checkout below
# a home that other users cannot enter is no place for a server that has given up root: then it is in the temporary
# directory, with a link where it would have been.
instance_directory() {
    local place=$local_dir/$1/$2 elsewhere
    mkdir -p "$local_dir/$1"
    mkdir "$place"
    hand_over "$place"
    if as_user test -w "$place" -a -x "$place" 2>/dev/null; then
        printf '%s' "$place"
        return
    fi
    rmdir "$place"
    elsewhere=$(enterable_directory "$2") ||
        fail "expected a directory that $2's user can enter; $local_dir, ${TMPDIR:-/tmp} and /tmp are none. Set TMPDIR to one and run again."
    ln -s "$elsewhere" "$place"
    say "$2's user cannot enter $local_dir, so its data is in $elsewhere"
    printf '%s' "$elsewhere"
}

enterable_directory() {
    local base made
    for base in "${TMPDIR:-/tmp}" /tmp; do
        made=$(mktemp -d "$base/bursar-local-$1.XXXXXX") || continue
        hand_over "$made"
        if as_user test -w "$made" -a -x "$made" 2>/dev/null; then
            printf '%s' "$made"
            return
        fi
        rmdir "$made"
    done
    return 1
}

hand_over() {
    chmod 700 "$1"
    [[ ${#run_as[@]} -eq 0 ]] || chown "${run_as[1]#--reuid=}" "$1"
}

# forget_instance <instance> <service>: its processes are gone by now. A link's target is removed only where it is one that
# enterable_directory made.
forget_instance() {
    local place=$local_dir/$1/$2 elsewhere
    if [[ -L $place ]]; then
        elsewhere=$(readlink "$place")
        [[ $elsewhere != */bursar-local-"$2".* ]] || rm -rf "$elsewhere"
        rm -f "$place"
    fi
    rm -rf "$place" "$place.state" "$place.state.new"
    rmdir "$local_dir/$1" "$local_dir" 2>/dev/null || true
}

# stop_instance <instance> <service>
stop_instance() {
    [[ -e $local_dir/$1/$2 || -L $local_dir/$1/$2 || -e $local_dir/$1/$2.state ]] || return 0
    "stop_private_$2" "$1" || return 1
    forget_instance "$1" "$2"
}

# A script that was killed outright ran no steps at exit: what it left is ended here, before anything new starts.
sweep_abandoned_instances() {
    local place instance owner
    for place in "$local_dir"/run-*; do
        [[ -d $place ]] || continue
        instance=${place##*/}
        owner=${instance#run-}
        ! process_alive "${owner%%-*}" || continue
        say "ending what an earlier run left in $place"
        stop_instance "$instance" rabbitmq || true
        stop_instance "$instance" postgres || true
    done
}

# remember_to_stop <service>
remember_to_stop() {
    if [[ $keep_services == yes ]]; then
        say "the private $1 stays; deploy/services.sh stop ends it"
    else
        at_exit stop_instance "$(this_instance)" "$1"
    fi
}

# give_up <service> <log>: a server that did not come up. The log goes with its directory, so its tail is printed here.
give_up() {
    printf '%s\n' "--- the last lines of $2" >&2
    tail -n 30 "$2" >&2 || true
    printf '%s\n' "---" >&2
    stop_instance "$(this_instance)" "$1" || true
    fail "expected a private $1 to come up, it did not (its log is above). Mend that, or name a running one in $3, and run again."
}
