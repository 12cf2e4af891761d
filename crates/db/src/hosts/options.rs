//! The URL of a host, as the driver's options.

use crate::error::Error;
use crate::urls::ServerUrl;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// What a URL may not set, and what is done instead.
const REFUSED: [(&str, &str); 4] = [
    ("target_session_attrs", "of several hosts the first that can be written is taken, always"),
    ("load_balance_hosts", "hosts are taken in the order in which they stand"),
    ("connect_timeout", "each host has 2 s, and the next is asked meanwhile"),
    ("hostaddr", "name hosts before the path: postgres://user:password@first:5432,second:5432/database"),
];

/// Refuses what a URL of so many hosts may not set.
pub(super) fn refuse(url: &ServerUrl, hosts: usize) -> Result<(), Error> {
    for (name, value) in url.settings() {
        let is_list = hosts > 1 || value.contains(',') || value.to_ascii_lowercase().contains("%2c");
        if matches!(name, "host" | "port") && is_list {
            let (_, instead) = REFUSED[3];
            return Err(Error::Url(format!("several hosts: expected none as `{name}=`; {instead}")));
        }
        if let Some((name, instead)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            return Err(Error::Url(format!("expected no `{name}=`; take it out: {instead}")));
        }
    }
    Ok(())
}

/// Reads the URL of one host. Encryption is not asked for on this machine's own loopback unless the URL says so: it protects
/// nothing there, and the driver writes each 16 KiB record by itself without TCP_NODELAY, so that every larger statement
/// waits 40 ms for a delayed acknowledgement.
pub(super) fn options(url: &ServerUrl, name: &str) -> Result<PgConnectOptions, Error> {
    let options: Result<PgConnectOptions, _> = url.text().parse();
    let options = options.map_err(|_| {
        // The driver's own words may quote a piece of the URL.
        let why = "a host, path or parameter that the driver does not read; expected postgres://user:password@host:port/database";
        Error::Url(why.to_owned())
    })?;
    let options = if url.is_ipv6() { options.host(url.host()) } else { options };
    let is_loopback = matches!(options.get_host(), "localhost" | "127.0.0.1" | "::1");
    let options = match options.get_ssl_mode() {
        PgSslMode::Prefer if is_loopback => options.ssl_mode(PgSslMode::Disable),
        _ => options,
    };
    Ok(options.application_name(name).disable_statement_logging())
}
