-- What the fleet shares. Each table says who writes it.
-- Locks are taken in one order: payment_ids, customers, payments, accounts; each sorted by its key. (Customers that only a
-- payment's record names come after the payment; a deadlock there is a retry.)

-- The gate: every delivery admitted once. Never purged: a repeat after years is still a repeat.
create table inbox (
    source      text        not null,
    id          text        not null,
    kind        text        not null,
    -- SHA-256 of the canonical fact: same identity and another hash is a conflict.
    hash        bytea       not null check (length(hash) = 32),
    -- The canonical fact: ids, amounts and the account, nothing else of a person.
    fact        text        not null,
    time        timestamptz not null,
    admitted_at timestamptz not null,
    repeats     integer     not null default 0 check (repeats >= 0),
    primary key (source, id)
);

-- The gate: bodies as they came, apart from their facts because they may name people. Purged by retention, erasable.
create table raw_deliveries (
    source      text        not null,
    id          text        not null,
    body        bytea       not null,
    received_at timestamptz not null,
    primary key (source, id)
);
create index raw_deliveries_by_age on raw_deliveries (received_at);

-- The ingester: verified deliveries that RabbitMQ could not take. Published, then deleted.
create table kept_messages (
    id          uuid        not null primary key,
    kept_at     timestamptz not null,
    exchange    text        not null,
    routing_key text        not null,
    message_id  text        not null,
    content_type text       not null,
    headers     jsonb       not null,
    body        bytea       not null,
    -- How often the broker would not take it: those it takes go first.
    refusals    integer     not null default 0
);

-- The ledger: which catalog a payment was granted by.
create table catalog_versions (
    version    text        not null primary key,
    content    jsonb       not null,
    first_seen timestamptz not null
);

-- The ledger: what became of each fact it read.
create table ledger_facts (
    source     text        not null,
    id         text        not null,
    kind       text        not null,
    outcome    text        not null check (outcome in ('applied', 'no_op', 'waiting', 'ignored', 'contradicts', 'refused')),
    payment    text,
    settled_at timestamptz not null,
    primary key (source, id)
);
create index ledger_facts_by_payment on ledger_facts (payment) where payment is not null;

-- The ledger: every id that a purchase is known by, and the payment it leads to.
create table payment_ids (
    id      text not null primary key,
    payment text not null
);

create table payments (
    payment         text        not null primary key,
    state           text        not null check (state in ('shell', 'undelivered', 'delivered', 'merged')),
    account         text,
    customer        text,
    catalog         text        references catalog_versions,
    merged_into     text,
    -- What its facts say, merged: the ledger's rule is a function of this alone.
    record          jsonb       not null,
    -- Derived from the record for people and lists.
    amount          numeric,
    currency        text,
    reversed_amount numeric     not null default 0,
    held_amount     numeric     not null default 0,
    created_at      timestamptz not null,
    updated_at      timestamptz not null,
    check ((state = 'delivered') = (account is not null)),
    check ((state = 'merged') = (merged_into is not null))
) with (fillfactor = 80);
create index payments_by_account on payments (account) where account is not null;
create index payments_open on payments (state, created_at) where state in ('shell', 'undelivered');
create index payments_waiting_for_customer on payments (customer) where state = 'undelivered' and customer is not null;

-- A customer without account holds a place: whoever delivers a payment and whoever links its customer meet on this row.
create table customers (
    customer text not null primary key,
    account  text
);
create index customers_by_account on customers (account) where account is not null;

-- An account's balances and the ends of its chains. Whoever emits an event of the account holds this row.
create table accounts (
    account      text    not null primary key,
    available    numeric not null default 0 check (available >= 0),
    held         numeric not null default 0 check (held >= 0),
    debt         numeric not null default 0 check (debt >= 0),
    sequence     bigint  not null default 0 check (sequence >= 0),
    transactions bigint  not null default 0 check (transactions >= 0),
    head         bytea   not null default '\x0000000000000000000000000000000000000000000000000000000000000000'::bytea check (length(head) = 32),
    check (not (available > 0 and debt > 0))
) with (fillfactor = 70);

create table lots (
    lot        text        not null primary key,
    account    text        not null,
    payment    text,
    kind       text        not null check (kind in ('purchase', 'bonus', 'promotional', 'goodwill', 'adjustment')),
    granted    numeric     not null check (granted >= 0),
    remaining  numeric     not null check (remaining >= 0),
    held       numeric     not null check (held >= 0),
    consumed   numeric     not null check (consumed >= 0),
    reversed   numeric     not null check (reversed >= 0),
    expired    numeric     not null check (expired >= 0),
    since      timestamptz not null,
    expires_at timestamptz,
    -- Whether usage can burn it. A column of its own, so that the index below changes only when this does, and the
    -- many updates of the amounts stay on their page.
    burnable   boolean     not null,
    check (granted = remaining + held + consumed + reversed + expired),
    check (burnable = (remaining > 0))
) with (fillfactor = 70);
create index lots_by_account on lots (account, since);
create index lots_burnable on lots (account) where burnable;

-- The journal: append-only, numbered and chained per account.
create table transactions (
    account      text        not null,
    number       bigint      not null check (number > 0),
    kind         text        not null check (kind in ('grant', 'usage', 'hold', 'release', 'reversal', 'restoration', 'cover', 'correction')),
    cause_source text        not null,
    cause_id     text        not null,
    payment      text,
    at           timestamptz not null,
    hash         bytea       not null check (length(hash) = 32),
    primary key (account, number)
);
create index transactions_by_payment on transactions (payment) where payment is not null;

create table entries (
    account text     not null,
    number  bigint   not null,
    line    smallint not null check (line >= 0),
    book    text     not null check (book in ('issued', 'available', 'held', 'consumed', 'reversed', 'expired', 'debt', 'overdrawn')),
    lot     text,
    amount  numeric  not null check (amount <> 0),
    primary key (account, number, line),
    check ((lot is null) = (book in ('debt', 'overdrawn')))
);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: % refused', tg_table_name, tg_op using errcode = 'restrict_violation';
end
$$;
create trigger transactions_append_only before update or delete or truncate on transactions
    for each statement execute function refuse_change();
create trigger entries_append_only before update or delete or truncate on entries
    for each statement execute function refuse_change();

-- Whoever emits: every event told to the world, kept for replays.
create table events (
    id       uuid        not null primary key,
    account  text,
    sequence bigint      check (sequence > 0),
    type     text        not null,
    time     timestamptz not null,
    body     text        not null,
    unique (account, sequence),
    check ((account is null) = (sequence is null))
);

-- Whoever emits: events committed and not yet known to be published, one row for each batch. Deleted once confirmed.
create table outbox (
    id         uuid        not null primary key,
    created_at timestamptz not null,
    events     uuid[]      not null
);
