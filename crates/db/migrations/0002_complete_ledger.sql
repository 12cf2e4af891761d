-- What the whole algebra needs: operators' acts, expiry, links by address, and what a rebuild replays.

alter table transactions drop constraint transactions_kind_check;
alter table transactions add constraint transactions_kind_check check (kind in (
    'grant', 'usage', 'hold', 'release', 'reversal', 'restoration', 'cover', 'correction', 'expiry', 'adjustment',
    'write_off', 'move'));

-- The trigger stops whoever may write; nobody but the ledger's owner may, and he may only append.
revoke update, delete, truncate on transactions from public;
do $$ begin
    execute format('revoke update, delete, truncate on transactions from %I', current_user);
end $$;

-- The ledger: the rules that decided facts, so that a rebuild decides each by what held then. Named by the hash of
-- their content; a catalog stands beside them.
create table rules_versions (
    rules      bigint      not null primary key,
    content    jsonb       not null,
    catalog    text        not null references catalog_versions,
    first_seen timestamptz not null
);

-- The order in which facts were settled: numbered under the locks of what they touch, so that of two facts that could
-- meet the earlier has the lower number. Gaps and leaps mean nothing.
alter table ledger_facts add column position bigint generated always as identity;
-- Null: settled before rules were recorded.
alter table ledger_facts add column rules bigint;

-- The address of a customer, as its digest: whoever links the address links the customer.
alter table customers add column email text;
create index customers_by_email on customers (email) where email is not null;

-- The scheduled pass looks for lots whose time has come.
create index lots_expiring on lots (expires_at) where burnable and expires_at is not null;
