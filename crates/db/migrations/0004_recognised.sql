-- A delivery that no translation understood is kept as `fact.unrecognised`. Once a newer one understands it, the gate admits
-- it anew under its identity: its row then says what it was recognised as, and since when.
alter table inbox add column recognised_at timestamptz;

-- Few among very many: they are listed, oldest first, without a look at the others.
create index inbox_unrecognised on inbox (admitted_at, source, id) where kind = 'fact.unrecognised';
