//! The pools of the fleet.

use crate::error::Error;
use crate::follow::follow;
use crate::hosts::Hosts;
use crate::pool::{BY_KEY, LIMITS, Pool, Setting, options};
use secrecy::SecretString;

/// A bounded pool. Nothing is connected yet: a fleet starts while its database is still away.
///
/// # Errors
/// [`Error::Url`] where the URL cannot be read.
pub fn pool(url: &SecretString, connections_max: u32, name: &str) -> Result<Pool, Error> {
    Ok(pool_with(Hosts::read(url, name)?, &LIMITS, connections_max))
}

/// A pool for workers, which only ever look rows up by their keys. Postgres keeps a statement's plan: one made while a
/// table was small would scan it for every batch once it is large, so plans that read whole tables are ruled out.
///
/// # Errors
/// [`Error::Url`] where the URL cannot be read.
pub fn worker_pool(url: &SecretString, connections_max: u32, name: &str) -> Result<Pool, Error> {
    let settings = [&LIMITS[..], &BY_KEY].concat();
    Ok(pool_with(Hosts::read(url, name)?, &settings, connections_max))
}

/// Of several hosts the pool turns to another where it has to, for as long as it is not closed: the task that does so holds it.
fn pool_with(hosts: Hosts, settings: &[Setting], connections_max: u32) -> Pool {
    let several = hosts.all().len() > 1;
    let pool = options(settings, connections_max, several).connect_lazy_with(hosts.all()[0].clone());
    if several {
        tokio::spawn(follow(pool.clone(), hosts));
    }
    pool
}
