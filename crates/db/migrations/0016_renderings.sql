-- A processor may tell one event in several renderings (versions of its API). What a later one adds to what was admitted is
-- admitted as a fact of its own, under an identity derived from the event's: its row names the one it adds to.
alter table inbox add column adds_to text check (adds_to <> id);

-- Few among very many: found by what they add to.
create index inbox_additions on inbox (source, adds_to) where adds_to is not null;
