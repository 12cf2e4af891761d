# shellcheck shell=bash
# The system's packages: apt on Debian and Ubuntu, brew on macOS. Sourced.
# Never starts, stops or creates a service of the system: what is installed here is only run as a private instance.

as_root() {
    if [[ $(id -u) -eq 0 ]]; then
        "$@"
    elif [[ -t 0 ]]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

may_become_root() { [[ $(id -u) -eq 0 ]] || command -v sudo >/dev/null; }

# install_packages <what it is for> <apt packages> <brew packages>
install_packages() {
    local purpose=$1 apt_packages=$2 brew_packages=$3
    if command -v brew >/dev/null && [[ $(uname -s) == Darwin ]]; then
        say "installing $purpose: brew install $brew_packages"
        # shellcheck disable=SC2086 # a list of packages
        HOMEBREW_NO_AUTO_UPDATE=1 brew install --quiet $brew_packages >&2 ||
            fail "expected \`brew install $brew_packages\` to succeed, it did not (see above). Install $purpose by hand and run again."
    elif command -v apt-get >/dev/null && may_become_root; then
        say "installing $purpose: apt-get install $apt_packages"
        apt_install "$purpose" "$apt_packages"
    else
        fail "expected $purpose on this machine, found none, and cannot install it (no apt-get with root or sudo, no brew). Install it by hand and run again."
    fi
}

apt_install() {
    local purpose=$1 packages=$2 log
    mkdir -p "$local_dir"
    log=$local_dir/apt.log
    keep_services_from_starting
    # A repository that does not answer says nothing of the package yet: the installation decides.
    # shellcheck disable=SC2086 # a list of packages
    if ! { apt_get update || true; apt_get install --no-install-recommends $packages; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        fail "expected \`apt-get install $packages\` to succeed, it did not (last lines above, all of it in $log). Install $purpose by hand and run again."
    fi
    let_services_start
    rm -f "$log"
    rmdir "$local_dir" 2>/dev/null || true
}

apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@"; }

# Debian starts a service as soon as its package is there, and makes a Postgres cluster of its own. Both would be a server
# that nobody asked for, on the standard ports. policy-rc.d is Debian's own switch against the first, createcluster.d against
# the second; where an administrator has set policy-rc.d already, theirs stays.
policy_file=/usr/sbin/policy-rc.d
cluster_directory=/etc/postgresql-common/createcluster.d
cluster_file=$cluster_directory/bursar-no-cluster.conf
policy_is_ours=no

keep_services_from_starting() {
    at_exit let_services_start
    if [[ ! -e $policy_file ]]; then
        printf '#!/bin/sh\n# Set by Bursar while it installs a package; removed right after.\nexit 101\n' | as_root tee "$policy_file" >/dev/null
        as_root chmod 755 "$policy_file"
        policy_is_ours=yes
    fi
    as_root mkdir -p "$cluster_directory"
    printf 'create_main_cluster = false\n' | as_root tee "$cluster_file" >/dev/null
}

let_services_start() {
    if [[ $policy_is_ours == yes ]]; then
        as_root rm -f "$policy_file"
        policy_is_ours=no
    fi
    if [[ -e $cluster_file ]]; then
        as_root rm -f "$cluster_file"
        as_root rmdir "$cluster_directory" 2>/dev/null || true
    fi
}

# not_at_boot <unit>...: installed for private instances alone, so the machine's next start must not bring the service up either.
not_at_boot() {
    [[ -d /run/systemd/system ]] || return 0
    as_root systemctl disable --quiet "$@" 2>/dev/null || true
}
