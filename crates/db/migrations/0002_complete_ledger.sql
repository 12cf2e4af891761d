-- What the whole algebra needs: operators' acts, expiry, links by address, and what a rebuild replays; and rows that cost
-- less, for this is where a fleet's time goes.

-- Keys compare byte by byte: faster than any language's order, and the same on every server.
drop index payments_waiting_for_customer;
alter table payments alter column payment type text collate "C", alter column account type text collate "C",
                     alter column merged_into type text collate "C",
                     -- Whoever it is said to be by: a link of any of them delivers it.
                     add column customers text[] collate "C" not null default '{}',
                     -- Read and written whole, by the ledger alone.
                     alter column record type json;
update payments set customers = array[customer] where customer is not null;
alter table payments drop column customer;
create index payments_waiting_for_customers on payments using gin (customers) where state = 'undelivered';
alter table payment_ids alter column id type text collate "C", alter column payment type text collate "C";
alter table accounts alter column account type text collate "C";
alter table lots alter column lot type text collate "C", alter column account type text collate "C",
                 alter column payment type text collate "C";
alter table inbox alter column source type text collate "C", alter column id type text collate "C";
alter table raw_deliveries alter column source type text collate "C", alter column id type text collate "C";
alter table ledger_facts alter column source type text collate "C", alter column id type text collate "C",
                         alter column payment type text collate "C";
alter table events alter column account type text collate "C";

-- The journal: a transaction and its entries are one row, for each row costs more than what is in it. An entry is
-- [book, lot or null, amount as text]: text, so that no reader takes a number for a float.
alter table transactions disable trigger transactions_append_only;
alter table transactions drop constraint transactions_kind_check,
                         alter column account type text collate "C", alter column payment type text collate "C",
                         alter column cause_source type text collate "C", alter column cause_id type text collate "C",
                         add column entries json;
update transactions t set entries = coalesce(
    (select json_agg(json_build_array(book, lot, trim_scale(amount)::text) order by line) from entries e
     where e.account = t.account collate "default" and e.number = t.number), '[]');
alter table transactions alter column entries set not null;
alter table transactions add constraint transactions_kind_check check (kind in (
    'grant', 'usage', 'hold', 'release', 'reversal', 'restoration', 'cover', 'correction', 'expiry', 'adjustment',
    'write_off', 'move'));
alter table transactions enable trigger transactions_append_only;
drop table entries;
create view entries as
    select t.account, t.number, (e.place - 1)::smallint as line, e.entry ->> 0 as book,
           (e.entry ->> 1) collate "C" as lot, (e.entry ->> 2)::numeric as amount
    from transactions t cross join lateral json_array_elements(t.entries) with ordinality as e (entry, place);

-- The trigger stops whoever may write; nobody but the ledger's owner may, and he may only append.
revoke update, delete, truncate on transactions from public;
do $$ begin
    execute format('revoke update, delete, truncate on transactions from %I', current_user);
end $$;

-- An event without what every event says, and what its columns say already.
alter table events add column source text, add column cause text, add column traceparent text, add column data json;
update events set source = body::json ->> 'source', cause = body::json ->> 'cause',
                  traceparent = body::json ->> 'traceparent', data = body::json -> 'data';
alter table events alter column source set not null, alter column cause set not null, alter column data set not null,
                   drop column body;

-- An event's identity is its account's sequence. Its id says when it was made and is looked up by the sweeper alone:
-- rows lie in that order, and the smallest index will do.
alter table events drop constraint events_pkey;
create index events_by_id on events using brin (id) with (autosummarize = on);
-- Ids made in one moment do not compress: what tries is time lost.
alter table outbox alter column events set storage external;

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
alter table ledger_facts add column position bigint;
update ledger_facts f set position = n.position
from (select source, id, row_number() over (order by settled_at, ctid) as position from ledger_facts) n
where n.source = f.source and n.id = f.id;
alter table ledger_facts alter column position set not null,
                         alter column position add generated always as identity;
do $$ begin
    perform setval(pg_get_serial_sequence('ledger_facts', 'position'), (select count(*) + 1 from ledger_facts));
end $$;
-- Null: settled before rules were recorded.
alter table ledger_facts add column rules bigint;

-- The latest address of a customer, as its digest, and when it was told: whoever links the address links the customer.
alter table customers alter column customer type text collate "C", alter column account type text collate "C",
                      add column email text collate "C", add column email_at timestamptz;
create index customers_by_email on customers (email) where email is not null;

-- Credits that came back to a lot whose time was up can be spent until then: `expires_at` is not before it.
alter table lots add column grace_until timestamptz;

-- The scheduled pass looks for lots whose time has come.
create index lots_expiring on lots (expires_at) where burnable and expires_at is not null;
