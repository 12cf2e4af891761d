# shellcheck shell=bash
# Speaking to Postgres with psql: on this machine, or in the container where compose runs the server. Sourced.

# psql_at <url> [psql argument...]: no start-up file, never a question, the first error ends it.
psql_at() {
    local url=$1 password
    local pattern='^([^:/?#]+://[^:@/?#,]*):([^@/?#]*)@([^@]*)$'
    shift
    # Out of the arguments, which every user of the machine can read.
    if [[ $url =~ $pattern ]]; then
        url=${BASH_REMATCH[1]}@${BASH_REMATCH[3]}
        password=${BASH_REMATCH[2]//\\/\\\\}
        local -x PGPASSWORD
        printf -v PGPASSWORD %b "${password//%/\\x}"
    fi
    PGCONNECT_TIMEOUT=${PGCONNECT_TIMEOUT:-5} psql "$url" --no-psqlrc --no-password --quiet --tuples-only --no-align \
        --set=ON_ERROR_STOP=1 "$@"
}

# sql_in <database> [psql argument...]: on the server that services_ensure found.
sql_in() {
    local database=$1
    shift
    psql_at "$(database_url "$database")" "$@"
}

# Keeps login, host and options, changes the database.
database_url() {
    local pattern='^(postgres(ql)?://[^/?]*)(/[^?]*)?(\?.*)?$'
    [[ $services_database_url =~ $pattern ]] ||
        fail "expected BURSAR_DATABASE_URL like postgres://user@host:port/database, got something else. Correct it and run again."
    printf '%s/%s%s' "${BASH_REMATCH[1]}" "$1" "${BASH_REMATCH[4]:-}"
}

# And roles: each test has a database with two of its own.
may_create_databases() {
    [[ $(psql_at "$1" --command="select rolsuper or (rolcreatedb and rolcreaterole) from pg_roles where rolname = current_user" 2>/dev/null) == t ]]
}

database_create() { sql_in "$services_database" --command="create database $1"; }

# FORCE: a worker that was killed may have left its connection behind.
database_drop() { sql_in "$services_database" --command="drop database if exists $1 with (force)"; }

# The part of the url after the host: the database that exists on the server already.
services_database_of() {
    local database=${1#*://}
    database=${database%%\?*}
    if [[ $database == */?* ]]; then printf '%s' "${database##*/}"; else printf postgres; fi
}

ensure_psql() {
    local programs
    if command -v psql >/dev/null; then return; fi
    if programs=$(postgres_programs) && [[ -x $programs/psql ]]; then
        PATH=$PATH:$programs
        export PATH
        return
    fi
    install_packages "psql, the Postgres client" "postgresql-client" "libpq"
    # brew keeps libpq out of PATH, so as not to shadow a server's own psql.
    PATH=$PATH:/opt/homebrew/opt/libpq/bin:/usr/local/opt/libpq/bin
    export PATH
    command -v psql >/dev/null || fail "expected psql after installing the Postgres client, found none. Put psql into PATH and run again."
}
