-- A processor may tell one event in several renderings (versions of its API). What a later one adds to what was admitted is
-- admitted as a fact of its own, under an identity derived from the event's: its row names the one it adds to.
-- The inbox may be large.
set local statement_timeout = 0;

alter table inbox add column adds_to text check (adds_to <> id);

-- Few among very many: found by what they add to.
create index inbox_additions on inbox (source, adds_to) where adds_to is not null;

-- These facts, the further ones of the same deliveries, and what other renderings added to any of them.
create or replace function told_with(sources text[], ids text[]) returns table (source text, id text) language sql stable as $$
    with told as materialized (
        select w.source, w.id from unnest(sources, ids) as w (source, id)
        union
        select w.source, further.id from unnest(sources, ids) as w (source, id)
        cross join lateral (
            select i.id from inbox i
            where i.source = w.source collate "C"
              and i.id >= (w.id || ':') collate "C" and i.id < (w.id || ';') collate "C"
              and starts_with(i.id, w.id || ':' || replace(i.kind, 'fact.', '') || ':')
            offset 0
        ) further
    )
    select t.source, t.id from told t
    union
    select t.source, added.id from told t
    cross join lateral (
        select i.id from inbox i
        where i.adds_to is not null and i.source = t.source collate "C" and i.adds_to = t.id collate "C"
        offset 0
    ) added
$$;

-- The deliveries whose bodies tell these facts: a further fact's and an addition's body is with the event's own.
create function deliveries_of(sources text[], ids text[]) returns table (source text, id text) language sql stable as $$
    with told as materialized (
        select i.source, i.kind, coalesce(i.adds_to, i.id) as id from unnest(sources, ids) as w (source, id)
        join inbox i on i.source = w.source collate "C" and i.id = w.id collate "C"
    )
    select w.source, w.id from unnest(sources, ids) as w (source, id)
    union
    select t.source, t.id from told t
    union
    select t.source, split_part(t.id, ':', 1) from told t
    where starts_with(t.id, split_part(t.id, ':', 1) || ':' || replace(t.kind, 'fact.', '') || ':')
$$;
