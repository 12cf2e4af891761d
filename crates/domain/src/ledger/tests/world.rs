//! A ledger in memory that addresses facts and tells repeats apart as the worker does, and checks every invariant of the
//! rule after each fact, over the whole journal.

use super::*;

pub(super) struct World {
    pub books: Books,
    pub rules: Rules,
    /// When the next fact is taken up.
    pub now: OffsetDateTime,
    /// Credits that write-offs forgave, by their cause: how much debt there was depends on the path.
    pub forgiven: BTreeMap<String, Credits>,
    seen: BTreeSet<Cause>,
    used: BTreeMap<AccountId, Credits>,
    /// Which payment each id was last known to lead to.
    leads_to: BTreeMap<PaymentId, PaymentId>,
    /// The whole journal: its sum by account, lot and book.
    sums: BTreeMap<(AccountId, Option<String>, Book), Credits>,
    heads: BTreeMap<AccountId, (u64, crate::journal::Hash)>,
}

/// Fails with what should have held.
macro_rules! holds {
    ($condition:expr, $($rule:tt)+) => {
        if !$condition {
            return Err(format!($($rule)+));
        }
    };
}
pub(super) use holds;

impl World {
    pub fn new() -> Self {
        Self::by(rules())
    }

    pub fn by(rules: Rules) -> Self {
        Self {
            books: Books::default(),
            rules,
            now: START,
            forgiven: BTreeMap::new(),
            seen: BTreeSet::new(),
            used: BTreeMap::new(),
            leads_to: BTreeMap::new(),
            sums: BTreeMap::new(),
            heads: BTreeMap::new(),
        }
    }

    /// Tells a fact; nothing where it was told before.
    pub fn tell(&mut self, id: &str, fact: &Fact) -> Option<Decision> {
        self.hear(id, fact).unwrap_or_else(|broken| panic!("{broken}")).transpose().unwrap()
    }

    /// Tells a fact: what was decided or refused, or which invariant is broken.
    pub fn hear(&mut self, id: &str, fact: &Fact) -> Result<Option<Result<Decision, Refusal>>, String> {
        let cause = Cause { source: "paddle".to_owned(), id: id.to_owned() };
        if !self.seen.insert(cause) {
            return Ok(None);
        }
        if let Fact::Expiry(expiry) = fact {
            self.now = self.now.max(expiry.as_of);
        }
        let decided = self.decide(id, fact);
        match &decided {
            Ok(decision) => self.book(id, fact, decision)?,
            Err(_) => self.check()?,
        }
        Ok(Some(decided))
    }

    /// Tells a fact a second time to the rule itself, as though nobody told repeats apart.
    pub fn repeat(&mut self, id: &str, fact: &Fact) -> Result<(), String> {
        let decision = self.decide(id, fact).map_err(|refusal| refusal.to_string())?;
        let silent = decision.transactions.is_empty() && decision.events.is_empty();
        holds!(silent && decision.outcome == Outcome::NoOp, "a repeat of {id} is a no-op, got {decision:?}");
        Ok(())
    }

    fn decide(&mut self, id: &str, fact: &Fact) -> Result<Decision, Refusal> {
        let cause = Cause { source: "paddle".to_owned(), id: id.to_owned() };
        let payment = self.address(fact)?;
        decide(&mut self.books, &self.rules, &cause, self.now, fact, payment.as_ref())
    }

    fn address(&mut self, fact: &Fact) -> Result<Option<PaymentId>, Refusal> {
        let named: Vec<PaymentId> = fact.payment_ids().into_iter().cloned().collect();
        let Some(own) = named.first() else { return Ok(None) };
        let known: BTreeSet<PaymentId> = named.iter().map(|id| self.resolve(id)).collect();
        let leading = if named.len() == 1 { self.resolve(own) } else { own.clone() };
        let payment = self.books.unite(&leading, &known)?;
        self.leads_to.extend(named.into_iter().chain(known).map(|id| (id, payment.clone())));
        Ok(Some(payment))
    }

    /// The payment that an id leads to.
    pub fn resolve(&self, id: &PaymentId) -> PaymentId {
        self.books.standing_for(self.leads_to.get(id).unwrap_or(id)).clone()
    }

    fn book(&mut self, id: &str, fact: &Fact, decision: &Decision) -> Result<(), String> {
        match fact {
            Fact::Usage(usage) => *self.used.entry(usage.account.clone()).or_default() += usage.credits,
            Fact::Adjustment(taken) if taken.credits < Credits::ZERO => {
                *self.used.entry(taken.account.clone()).or_default() += -taken.credits;
            }
            _ => {}
        }
        for transaction in &decision.transactions {
            self.append(transaction)?;
            let issued = transaction.entries.iter().filter(|entry| entry.book == Book::Issued);
            if transaction.kind == TransactionKind::WriteOff {
                self.forgiven.insert(id.to_owned(), -issued.map(|entry| entry.amount).sum::<Credits>());
            }
        }
        self.check_events(decision)?;
        self.check()
    }

    fn append(&mut self, transaction: &Transaction) -> Result<(), String> {
        holds!(transaction.balances(), "each transaction sums to zero: {transaction:?}");
        let moves = transaction.entries.iter().all(|entry| !entry.amount.is_zero());
        holds!(moves && !transaction.entries.is_empty(), "each transaction moves something: {transaction:?}");
        let head = self.heads.entry(transaction.account.clone()).or_insert((0, GENESIS));
        holds!(transaction.number == head.0 + 1, "transactions have no gap: {transaction:?}");
        holds!(transaction.hash == transaction.chained_hash(&head.1), "hashes are chained: {transaction:?}");
        *head = (transaction.number, transaction.hash);
        for entry in &transaction.entries {
            let place = (transaction.account.clone(), entry.lot.clone(), entry.book);
            *self.sums.entry(place).or_default() += entry.amount;
        }
        Ok(())
    }

    fn check_events(&mut self, decision: &Decision) -> Result<(), String> {
        for event in &decision.events {
            let Some(account) = &event.account else { continue };
            let after = Some(self.books.accounts[account].balances);
            holds!(event.balances == after, "events carry the balances after everything: {event:?}");
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let booked: Credits = self.sums.values().copied().sum();
        holds!(booked.is_zero(), "the journal sums to zero, got {booked}");
        self.books.accounts.values().try_for_each(|account| self.check_account(account))?;
        self.books.payments.values().try_for_each(|payment| self.check_exact(payment))
    }

    fn booked(&self, account: &AccountId, lot: Option<&str>, book: Book) -> Credits {
        let place = (account.clone(), lot.map(str::to_owned), book);
        self.sums.get(&place).copied().unwrap_or_default()
    }

    fn check_account(&self, account: &Account) -> Result<(), String> {
        let id = &account.id;
        let lots = || account.lots.iter();
        let balances = account.balances;
        for lot in lots() {
            holds!(lot.adds_up() && lot.account == *id, "a lot adds up: {lot:?}");
            let booked = |book| self.booked(id, Some(&lot.lot), book);
            holds!(booked(Book::Issued) == -lot.granted, "a lot was granted what was issued: {lot:?}");
            for book in [Book::Available, Book::Held, Book::Consumed, Book::Reversed, Book::Expired] {
                holds!(Some(booked(book)) == part(lot, book), "a lot is what was booked: {book:?} {lot:?}");
            }
        }
        let of_lots: [Credits; 2] = [lots().map(|lot| lot.remaining).sum(), lots().map(|lot| lot.held).sum()];
        holds!(of_lots == [balances.available, balances.held], "balances are those of the lots: {account:?}");
        let over_books = |book| -> Credits {
            let own = |place: &&(AccountId, Option<String>, Book)| place.0 == *id && place.2 == book;
            self.sums.keys().filter(own).map(|place| self.sums[place]).sum()
        };
        let booked = [Book::Available, Book::Held, Book::Debt].map(over_books);
        let stand = [balances.available, balances.held, balances.debt];
        holds!(booked == stand, "balances are the sums of entries: {booked:?} {account:?}");
        holds!(over_books(Book::Overdrawn) == -balances.debt, "debt has its other side: {account:?}");
        let carried = lots().map(|lot| lot.consumed).sum::<Credits>() + balances.debt;
        let used = self.used.get(id).copied().unwrap_or_default();
        holds!(carried == used, "all consumed + debt = all usage, got {carried} of {used}: {account:?}");
        let both = balances.available.is_positive() && balances.debt.is_positive();
        holds!(!both && balances.debt >= Credits::ZERO, "available and debt never together: {account:?}");
        let mut burnable: Vec<&Lot> = lots().filter(|lot| lot.remaining.is_positive()).collect();
        burnable.sort_by(|a, b| crate::lot::burn_order(&self.rules.burn_order, a, b));
        let filed = burnable.iter().map(|lot| &lot.lot).eq(&account.lots.burnable);
        holds!(filed, "what can be burned is filed in burn order: {account:?}");
        Ok(())
    }

    /// Never more reversed than granted, exactly the target; held as far as the payment's own lots reach.
    fn check_exact(&self, payment: &LedgerPayment) -> Result<(), String> {
        let of_lots = |part: fn(&Lot) -> Credits| self.of_payment(&payment.id, part);
        if payment.state != PaymentState::Delivered {
            let nothing = of_lots(|lot| lot.granted).is_zero();
            holds!(nothing && payment.account.is_none(), "only a delivered payment has lots: {payment:?}");
            return Ok(());
        }
        let terms = payment.record.terms(payment.reading).ok_or("a delivered payment was paid")?;
        let gone = payment.record.gone(&terms, payment.reading);
        let granted = of_lots(|lot| lot.granted);
        let (catalog, processor) =
            (&self.rules.catalogs[payment.catalog.as_ref().unwrap()], payment.id.processor());
        let is_known = terms.worth(processor, catalog, self.rules.scale).is_ok();
        let by_line = terms.credits_by_line(processor, catalog, self.rules.scale).filter(|_| is_known);
        let (reversed, question) = gone.credits(granted, by_line.as_ref(), terms.total, self.rules.scale);
        let got = of_lots(|lot| lot.reversed);
        holds!(got == reversed && got <= granted, "exactly {reversed} is reversed, got {got}: {payment:?}");
        let (held, remaining) = (of_lots(|lot| lot.held), of_lots(|lot| lot.remaining));
        let reach = held == question || (held < question && remaining.is_zero());
        holds!(reach, "{question} is held as far as it reaches, got {held}: {payment:?}");
        Ok(())
    }

    /// A part of all lots of a payment together, whosever they are.
    pub fn of_payment(&self, payment: &PaymentId, part: fn(&Lot) -> Credits) -> Credits {
        let lots = self.books.accounts.values().flat_map(|account| account.lots.iter());
        lots.filter(|lot| lot.payment.as_ref() == Some(payment)).map(part).sum()
    }

    /// From now on every price grants credits that expire.
    pub fn expire_prices_after(&mut self, after: Duration) {
        let mut catalog = self.rules.catalogs[&self.rules.current].clone();
        let prices = catalog.prices.values_mut().flat_map(BTreeMap::values_mut);
        prices.for_each(|price| price.expires_after_seconds = Some(after.whole_seconds()));
        self.rules = Rules { low: self.rules.low.clone(), scale: self.rules.scale, ..Rules::new(catalog) };
    }

    /// What is bought at no price of the catalog is bought at this rate.
    pub fn sell_at_rate(&mut self, currency: &str, credits: i64) {
        let mut catalog = self.rules.catalogs[&self.rules.current].clone();
        catalog.rates.insert(currency.to_owned(), credits.into());
        self.rules = Rules { low: self.rules.low.clone(), scale: self.rules.scale, ..Rules::new(catalog) };
    }

    pub fn balances(&self, account: &str) -> [String; 3] {
        let balances = self
            .books
            .accounts
            .get(&AccountId::new(account).unwrap())
            .map_or(Balances::default(), |account| account.balances);
        [balances.available, balances.held, balances.debt].map(|c| c.to_string())
    }
}
