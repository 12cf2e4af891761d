//! The same payloads about another purchase: of another account, under other ids.

/// Ids in the payloads that belong to one purchase and its buyer: each becomes another one of the same length.
const IDS: [&str; 11] = [
    // Stripe: payment intent, charge, session, customer, dispute.
    "pi_HvoW0wHBhVFodphMj8IwfzlE",
    "ch_in6a1HRT5r2GOoXRVx3PFtji",
    "cs_live_PCsP9jgX4gLqjW66W1KkoyqMlgKBYbBo2H18TkxWWqNSFt8vJ9oIpZkGtO",
    "cus_8OyyEcl7k6Lmxv",
    "du_h1yKzHEEQt4IPWhCmUE0Mzca",
    // Paddle: transaction, its line, customer, adjustments.
    "txn_01kajed38mnp3y9zjfszrhsak0",
    "txnitm_01kaj7m1qzfzqr0w54g0tkymrg",
    "ctm_01kaj5nqwv4jv742j91b8da2j0",
    "adj_01kaj9a0xk072q402ns04b1xm6",
    "adj_01kajsm22499dvdbc150jv2khr",
    "adj_01kajy6x3kgcyzz9kvyqphdcj0",
];

/// A payload about another purchase, which `mark` names: two characters.
pub fn retold(payload: &str, account: &str, mark: &str) -> String {
    let of_account = payload.replace(super::ACCOUNT, account).replace("\"evt_", &format!("\"evt_{mark}"));
    IDS.iter().fold(of_account, |payload, id| payload.replace(id, &marked(id, mark)))
}

/// An id of another purchase, as long as it was.
pub fn marked(id: &str, mark: &str) -> String {
    format!("{}{mark}", &id[..id.len() - mark.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_told_of_another_purchase() {
        let payload = "{\"id\":\"evt_1\",\"a\":\"acct_42\",\"c\":\"ch_in6a1HRT5r2GOoXRVx3PFtji\"}";
        let expect = "{\"id\":\"evt_w11\",\"a\":\"acct_9\",\"c\":\"ch_in6a1HRT5r2GOoXRVx3PFtw1\"}";
        assert_eq!(retold(payload, "acct_9", "w1"), expect);
    }
}
