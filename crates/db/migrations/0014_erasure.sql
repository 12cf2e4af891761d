-- Text that people wrote into facts can be erased: descriptions, reasons, a refund request's words. A fact's identity, its
-- amounts and everything posted because of it stand.
--
-- Erasing is the one change that a settled fact ever sees, and it cannot go unseen: text and hash change in one step, in the
-- function below alone, and `erased_facts` says of each fact since when and what its hash is now.

-- The inbox may be large.
set local statement_timeout = 0;

alter table inbox add column erased_at timestamptz;

-- Which facts still hold such text. Few of them have words at all, so looking for those reads no others.
create index inbox_texts on inbox (admitted_at, source, id)
    where erased_at is null
      and kind in ('fact.usage', 'fact.refund_request', 'fact.dispute', 'fact.customer', 'fact.grant', 'fact.adjustment',
                   'fact.assignment', 'fact.valuation')
      and (fact like '%"description":%' or fact like '%"reason":%' or fact like '%"transaction":%');

create view facts_with_texts as
    select source, id, kind, fact, admitted_at from inbox
    where erased_at is null
      and kind in ('fact.usage', 'fact.refund_request', 'fact.dispute', 'fact.customer', 'fact.grant', 'fact.adjustment',
                   'fact.assignment', 'fact.valuation')
      and (fact like '%"description":%' or fact like '%"reason":%' or fact like '%"transaction":%');

-- A canonical fact with its texts erased, in its one spelling: `Fact::without_texts` of the domain says the same.
create function without_texts(kind text, fact text) returns text language sql immutable as $$
    select '{' || string_agg(to_json(key)::text || ':' ||
                             case when json_typeof(value) = 'string' and key = any (case
                                      when kind = 'fact.usage' then array['description']
                                      when kind = 'fact.refund_request' then array['transaction', 'reason']
                                      when kind in ('fact.dispute', 'fact.customer', 'fact.grant', 'fact.adjustment',
                                                    'fact.assignment', 'fact.valuation') then array['reason']
                                      else '{}'::text[] end)
                                  then '"[erased]"' else value::text end, ',' order by place) || '}'
    from json_each(fact::json) with ordinality as f (key, value, place)
$$;

-- Which facts were erased. Append-only.
create table erased_facts (
    source    text        collate "C" not null,
    id        text        collate "C" not null,
    erased_at timestamptz not null,
    -- Of what is left.
    hash      bytea       not null check (length(hash) = 32),
    primary key (source, id)
);
create trigger erased_facts_append_only before update or delete or truncate on erased_facts
    for each statement execute function refuse_change();

-- Who had something erased, why, and what it reached. Append-only. A large act is several rows of one time.
create table erasures (
    number  bigint      not null generated always as identity primary key,
    at      timestamptz not null,
    by      text        not null,
    reason  text,
    -- An account, a fact, or a retention.
    about   text        not null,
    facts   integer     not null check (facts >= 0),
    bodies  integer     not null check (bodies >= 0),
    letters integer     not null check (letters >= 0)
);
create trigger erasures_append_only before update or delete or truncate on erasures
    for each statement execute function refuse_change();
create index erasures_by_time on erasures (at);

-- Nothing is erased without somebody who did it: it is asked for at the end of the transaction.
create function expect_erasure() returns trigger language plpgsql as $$
begin
    if not exists (select from erasures e where e.at = new.erased_at) then
        raise exception 'nobody is written down as who erased %/%', new.source, new.id using errcode = 'restrict_violation';
    end if;
    return null;
end
$$;
create constraint trigger erased_facts_written_down after insert on erased_facts
    deferrable initially deferred for each row execute function expect_erasure();

-- A time of an act that is under way: it began within the hour, by a clock that may be a little ahead.
create function act_of_now(at timestamptz) returns timestamptz language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if at between now() - interval '1 hour' and now() + interval '5 minutes' then
        return at;
    end if;
    raise exception 'erasing is an act of now (%), not of %', now(), at using errcode = 'restrict_violation';
end
$$;

-- These facts, and the further ones of the same deliveries: `<event id>:<kind>:<object id>`.
create function told_with(sources text[], ids text[]) returns table (source text, id text) language sql stable as $$
    select w.source, w.id from unnest(sources, ids) as w (source, id)
    union
    select w.source, further.id from unnest(sources, ids) as w (source, id)
    cross join lateral (
        select i.id from inbox i
        where i.source = w.source collate "C"
          and i.id >= (w.id || ':') collate "C" and i.id < (w.id || ';') collate "C"
          and starts_with(i.id, w.id || ':' || replace(i.kind, 'fact.', '') || ':')
        -- By its key for each, however few rows are expected.
        offset 0
    ) further
$$;

-- Erases the texts of these facts and of what was told with them; returns those that had any, whatever stood there: what
-- already says that it was erased is marked, too, so that nobody looks at it again. Whoever runs it need not have the right to
-- change the inbox.
create function erase_texts(sources text[], ids text[], since timestamptz) returns table (source text, id text)
    language sql security definer as $$
    with wanted as materialized (
        select i.source, i.id, without_texts(i.kind, i.fact) as remains
        from told_with(sources, ids) as w (source, id)
        join inbox i on i.source = w.source collate "C" and i.id = w.id collate "C"
        where i.erased_at is null
          and exists (select from facts_with_texts t where t.source = i.source and t.id = i.id)
        order by i.source, i.id for update of i
    ), erased as (
        update inbox i set fact = w.remains, hash = sha256(convert_to(w.remains, 'UTF8')), erased_at = act_of_now(since)
        from wanted w where i.source = w.source and i.id = w.id
        returning i.source, i.id, i.hash
    )
    insert into erased_facts as f (source, id, erased_at, hash) select e.source, e.id, since, e.hash from erased e
    returning f.source, f.id
$$;

-- With the rights of its owner: it looks nowhere but here, and nobody may call it who was not given that right.
do $$ begin
    execute format('alter function erase_texts(text[], text[], timestamptz) set search_path = pg_catalog, %I, pg_temp', current_schema());
    execute format('alter function expect_erasure() set search_path = pg_catalog, %I, pg_temp', current_schema());
end $$;
revoke execute on function erase_texts(text[], text[], timestamptz) from public;
