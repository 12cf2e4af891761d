#!/usr/bin/env bash
# Is the committed query metadata (.sqlx) that of today's queries and migrations? Builds work from it without a database, so
# a stale file would let a query through that the schema no longer answers.
#
# sqlx's macros write one file per query when they have a database and SQLX_OFFLINE_DIR; that is all `cargo sqlx prepare` does
# too, so no extra tool is needed. They run only while a crate is compiled: the workspace's crates are cleaned in a target
# directory of their own, where that costs nobody a rebuild.
set -euo pipefail

# shellcheck source=deploy/services.sh
source "$(dirname "${BASH_SOURCE[0]}")/services.sh"
# shellcheck source=deploy/local/toolchain.sh
source "$deploy_dir/local/toolchain.sh"

committed=$workspace_dir/.sqlx
migrations=$workspace_dir/crates/db/migrations

usage() {
    cat <<'USAGE'
usage: deploy/check-queries.sh [--private] [--write]

  --write    replace .sqlx by today's metadata
  --private  start a private Postgres even where another answers
USAGE
}

parse_options() {
    local option
    write=no
    service_options=(--postgres-only)
    for option in "$@"; do
        case $option in
            --write) write=yes ;;
            --private) service_options+=("$option") ;;
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

# migration_files: in the order of their version, the number before the first underscore, as sqlx applies them.
migration_files() {
    find "$migrations" -maxdepth 1 -name '[0-9]*_*.sql' ! -name '*.down.sql' | sed 's#.*/##' | LC_ALL=C sort -t _ -k 1,1n
}

apply_migrations() {
    local database=$1 file count=0
    [[ -d $migrations ]] || fail "expected the migrations in $migrations, found no such directory. Has it moved? Then change it here too."
    while read -r file; do
        # sqlx runs each in a transaction, unless its first line says otherwise.
        local transaction=(--single-transaction)
        ! head -n 1 "$migrations/$file" | grep -q '^-- no-transaction' || transaction=()
        sql_in "$database" ${transaction[@]+"${transaction[@]}"} --output=/dev/null --file="$migrations/$file" ||
            fail "expected the migration $file to apply to an empty database, it did not (see above). Correct it and run again."
        count=$((count + 1))
    done < <(migration_files)
    say "$count migrations applied"
}

# write_metadata <database> <directory>. QUERIES_TARGET_DIR: CI builds once and throws away, so there it may share.
write_metadata() {
    local target=${QUERIES_TARGET_DIR:-$(target_directory)/sqlx}
    (
        cd "$workspace_dir"
        CARGO_TARGET_DIR=$target cargo clean --quiet --locked --workspace
        CARGO_TARGET_DIR=$target DATABASE_URL=$(database_url "$1") SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$2 \
            cargo check --workspace --all-targets --locked
    ) || fail "expected every query to fit the schema, the compiler says otherwise (see above). Correct the query or the migration."
}

# describe <file>: the query's beginning, so that a hash means something.
describe() {
    sed -n 's/^  "query": "\(.*\)",$/\1/p' "$1" | sed -E 's/(\\n|[[:space:]])+/ /g' | cut -c 1-100
}

# report_differences <today's>: 0 if there are none.
report_differences() {
    local today=$1 file name different=0
    for file in "$today"/query-*.json "$committed"/query-*.json; do
        [[ -e $file ]] || continue
        name=${file##*/}
        if [[ ! -e $committed/$name ]]; then
            say "not in .sqlx:    $name  $(describe "$file")"
        elif [[ ! -e $today/$name ]]; then
            say "no longer used:  $name  $(describe "$file")"
        elif [[ $file == "$today"/* ]] && ! cmp -s "$file" "$committed/$name"; then
            say "describes another schema: $name  $(describe "$file")"
            diff "$committed/$name" "$file" >&2 || true
        else
            continue
        fi
        different=$((different + 1))
    done
    [[ $different -eq 0 ]]
}

count_files() { find "$1" -name 'query-*.json' 2>/dev/null | wc -l | tr -d ' '; }

main() {
    local database work
    parse_options "$@"
    ensure_toolchain
    services_ensure "${service_options[@]}"
    work=$(mktemp -d "${TMPDIR:-/tmp}/bursar-queries.XXXXXX")
    at_exit rm -rf "$work"
    database=bursar_queries_$(random_hex 4)
    database_create "$database"
    at_exit database_drop "$database"
    apply_migrations "$database"
    mkdir "$work/queries"
    write_metadata "$database" "$work/queries"

    if [[ $write == yes ]]; then
        rm -rf "$committed"
        cp -R "$work/queries" "$committed"
        say "wrote $(count_files "$committed") queries to .sqlx"
    elif report_differences "$work/queries"; then
        say ".sqlx is current: $(count_files "$committed") queries"
    else
        fail "expected .sqlx to be that of today's queries and migrations, it differs (above). Run deploy/check-queries.sh --write and commit .sqlx."
    fi
}

main "$@"
