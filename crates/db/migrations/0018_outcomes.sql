-- What became of a fact is kept for each of its readers: the ledger is one of them.

-- Its key is made anew: that may take longer than a statement of the fleet.
set local statement_timeout = 0;
lock table ledger_facts in access exclusive mode;

alter table ledger_facts rename to outcomes;
-- A constant default is a note in the catalog: no row is written.
alter table outcomes add column reader text collate "C" not null default 'ledger';
alter table outcomes alter column reader drop default;
alter table outcomes drop constraint ledger_facts_pkey, add primary key (source, id, reader);
alter table outcomes rename constraint ledger_facts_outcome_check to outcomes_outcome_check;
alter index ledger_facts_by_payment rename to outcomes_by_payment;
alter sequence ledger_facts_position_seq rename to outcomes_position_seq;
alter trigger ledger_facts_kept on outcomes rename to outcomes_kept;
comment on column outcomes.position is 'the order in which facts were settled, by whichever reader';
comment on column outcomes.payment is 'what the ledger found the fact to be about';
comment on column outcomes.rules is 'the rules by which the ledger decided';

-- Since when a worker reads facts of a kind. What was admitted before is none of its facts, unless it was handed over.
create table readers (
    reader text        collate "C" not null,
    kind   text        collate "C" not null,
    since  timestamptz not null,
    primary key (reader, kind)
);
insert into readers (reader, kind, since)
select 'ledger', kind, '-infinity'
from unnest(array['fact.payment', 'fact.movement', 'fact.customer', 'fact.usage', 'fact.grant', 'fact.hold', 'fact.adjustment',
                  'fact.assignment', 'fact.valuation', 'fact.expiry']) as k (kind);
