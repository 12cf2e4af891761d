# shellcheck shell=bash
# A Postgres of our own: fresh data directory, free port on 127.0.0.1, TCP only, a random password. Sourced.

# The newest installed server. Debian keeps its programs out of PATH, brew keeps versioned formulas out of it.
postgres_programs() {
    local initdb
    initdb=$(
        {
            ls -d /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb /opt/homebrew/opt/postgresql@*/bin/initdb \
                /usr/local/opt/postgresql@*/bin/initdb 2>/dev/null || true
        } | sort -V | tail -n 1
    )
    [[ -n $initdb ]] || initdb=$(command -v initdb) || return 1
    dirname "$initdb"
}

private_postgres() {
    if reuse_kept_postgres; then return; fi
    ensure_postgres_programs
    start_private_postgres
}

ensure_postgres_programs() {
    if postgres_programs >/dev/null; then return; fi
    install_packages "PostgreSQL" "postgresql" "postgresql@17"
    not_at_boot postgresql.service
    postgres_programs >/dev/null ||
        fail "expected initdb after installing PostgreSQL, found none. Install a PostgreSQL server by hand, or set BURSAR_DATABASE_URL."
}

start_private_postgres() {
    local programs directory port password url
    programs=$(postgres_programs)
    stop_instance "$(this_instance)" postgres
    choose_user postgres
    directory=$(instance_directory "$(this_instance)" postgres)
    port=$(free_port)
    password=$(random_hex 16)
    url=postgres://postgres:$password@127.0.0.1:$port/postgres
    say "starting a private Postgres ($("$programs/postgres" --version | sed 's/.*(PostgreSQL) //')) on 127.0.0.1:$port"
    make_cluster "$programs" "$directory" "$port" "$password" || give_up postgres "$directory/log" BURSAR_DATABASE_URL
    remember_to_stop postgres
    start_cluster "$programs" "$directory" || give_up postgres "$directory/log" BURSAR_DATABASE_URL
    state_put "$(this_instance)" postgres "url=$url" "directory=$directory" "pid=$(head -n 1 "$directory/data/postmaster.pid")"
    ensure_psql
    may_create_databases "$url" || give_up postgres "$directory/log" BURSAR_DATABASE_URL
    BURSAR_DATABASE_URL=$url
}

# make_cluster <programs> <directory> <port> <password>
make_cluster() {
    local data=$2/data
    (
        set -e
        # The caller's directory may be one that the server's user cannot enter.
        cd "$2"
        printf '%s\n' "$4" | as_user tee password >/dev/null
        as_user "$1/initdb" --pgdata=data --username=postgres --auth=scram-sha-256 --pwfile=password \
            --encoding=UTF8 --locale=C --no-sync 2>&1 | as_user tee -a log >/dev/null
        rm -f password
    ) || return 1
    # Parallel tests hold a pool each, so more connections than the default of 100. Durability stays as it is by default: what is
    # measured on this server should mean something.
    as_user tee -a "$data/postgresql.conf" >/dev/null <<SETTINGS
listen_addresses = '127.0.0.1'
port = $3
unix_socket_directories = ''
max_connections = 300
SETTINGS
}

# pg_ctl takes the server out of this terminal's process group, so that Ctrl-C reaches the script and not the server first.
start_cluster() {
    (cd "$2" && as_user "$1/pg_ctl" start --pgdata="$2/data" --log="$2/log" --wait --timeout=60 >/dev/null)
}

reuse_kept_postgres() {
    local pid url
    pid=$(state_get kept postgres pid)
    url=$(state_get kept postgres url)
    is_process "$pid" "$(state_get kept postgres directory)/data" || return 1
    ensure_psql
    may_create_databases "$url" || return 1
    say "using the private Postgres kept by an earlier run"
    BURSAR_DATABASE_URL=$url
}

# stop_private_postgres <instance>. The id is read from the data directory where nobody got so far as to note it.
stop_private_postgres() {
    local directory pid
    directory=$(state_get "$1" postgres directory)
    [[ -n $directory ]] || directory=$(cd -P "$local_dir/$1/postgres" 2>/dev/null && pwd) || return 0
    pid=$(state_get "$1" postgres pid)
    [[ -n $pid || ! -r $directory/data/postmaster.pid ]] || pid=$(head -n 1 "$directory/data/postmaster.pid")
    unmount_small_disk "$directory"
    # SIGINT is Postgres's fast shutdown: ends sessions, writes a checkpoint. SIGQUIT leaves that out.
    stop_process "$pid" "$directory/data" INT QUIT
}

# --- a small disk --------------------------------------------------------------------------------
# For a test that fills it: a tablespace's directory on a memory file system of a few MiB. Needs the right to mount.

# mount_small_disk <directory> <MiB>: makes it, or gives it another size.
mount_small_disk() {
    local place=$1/small
    if mounted_small_disk "$1"; then
        mount -o "remount,size=${2}m" "$place"
    else
        as_user mkdir -p "$place" && mount -t tmpfs -o "size=${2}m" bursar-small "$place" && hand_over "$place"
    fi
}

mounted_small_disk() { grep -qF " $1/small tmpfs " /proc/mounts 2>/dev/null; }

# Lazily, for the server may still have files open there.
unmount_small_disk() { ! mounted_small_disk "$1" || umount -l "$1/small"; }
