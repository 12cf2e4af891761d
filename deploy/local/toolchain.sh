# shellcheck shell=bash
# What a build needs: cargo, and a C compiler that links. Sourced.

ensure_toolchain() {
    ensure_cargo
    ensure_c_compiler
}

ensure_cargo() {
    # A shell that was open before rustup ran does not have it in its path yet.
    if ! command -v cargo >/dev/null && [[ -x ${CARGO_HOME:-$HOME/.cargo}/bin/cargo ]]; then
        PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
        export PATH
    fi
    command -v cargo >/dev/null ||
        fail "expected cargo, found none in PATH or ${CARGO_HOME:-$HOME/.cargo}/bin. Get the Rust toolchain from https://rustup.rs and run again."
}

ensure_c_compiler() {
    if command -v cc >/dev/null; then return; fi
    if [[ $(uname -s) == Darwin ]]; then
        fail "expected a C compiler (cc) to link with, found none. Run \`xcode-select --install\` and try again."
    fi
    install_packages "a C compiler" "gcc libc6-dev" "gcc"
    command -v cc >/dev/null || fail "expected cc after installing gcc, found none. Put a C compiler named cc into PATH and run again."
}

# Asked of cargo, because the directory may come from CARGO_TARGET_DIR or from a configuration file.
target_directory() {
    (cd "$workspace_dir" && cargo metadata --format-version 1 --no-deps --locked) |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

build_bursar() {
    # A checkout builds without a database: the queries' metadata is committed.
    (cd "$workspace_dir" && SQLX_OFFLINE=true cargo build --locked --bin bursar)
    bursar_binary=$(target_directory)/debug/bursar
    [[ -x $bursar_binary ]] ||
        fail "expected the build to leave $bursar_binary, it is not there. Is a cross-compilation target or another profile configured for cargo?"
}
