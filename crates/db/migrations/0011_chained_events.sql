-- Events are chained by hash, as the journal is, and neither they nor facts can be changed by who runs the fleet.
-- An older fleet cannot write events any more: it is stopped before this, and the new one started after it (`bursar migrate`
-- refuses while workers are connected).

-- Every event is hashed and written anew: that may take longer than a statement of the fleet.
set local statement_timeout = 0;

-- Whoever writes to these has committed before anything is read here, or waits until it is over: no row is left behind.
lock table accounts, events, inbox, ledger_facts in access exclusive mode;

-- What follows from the hash before and from what an event says. Only for the events that are there: the fleet does it itself.
create function following_hash(previous bytea, says bytea) returns bytea language sql immutable strict
    as 'select sha256(previous || says)';
create aggregate chained_hash(bytea) (
    sfunc = following_hash, stype = bytea,
    initcond = '\x0000000000000000000000000000000000000000000000000000000000000000');

-- One pass, in the order of their ids: the sweeper finds events by where they lie (events_by_id).
create table events_chained (like events including all excluding indexes);
alter table events_chained add column hash bytea check (length(hash) = 32);
insert into events_chained
select e.*, chained_hash(
           convert_to(e.id::text, 'UTF8') || '\x00'
           || convert_to(coalesce(e.account, ''), 'UTF8') || '\x00'
           || convert_to(coalesce(e.sequence::text, ''), 'UTF8') || '\x00'
           || convert_to(e.type, 'UTF8') || '\x00'
           || convert_to(e.source, 'UTF8') || '\x00'
           || convert_to(e.cause, 'UTF8') || '\x00'
           || convert_to((extract(epoch from e.time) * 1000000)::bigint::text, 'UTF8') || '\x00'
           || convert_to(coalesce(e.traceparent, ''), 'UTF8') || '\x00'
           || convert_to(e.data::text, 'UTF8') || '\x00')
       over (partition by e.account, case when e.account is null then e.id end order by e.sequence)
from events e order by e.id;
drop table events;
alter table events_chained rename to events;
alter table events alter column hash set not null, add unique (account, sequence);
create index events_by_id on events using brin (id) with (autosummarize = on);
-- Its plans are made by what is known of it, which is nothing yet.
analyze events;
drop aggregate chained_hash(bytea);
drop function following_hash(bytea, bytea);

alter table accounts add column events_head bytea not null
    default '\x0000000000000000000000000000000000000000000000000000000000000000' check (length(events_head) = 32);
update accounts a set events_head = e.hash from events e where e.account = a.account and e.sequence = a.sequence;

-- Append-only for everybody, as the journal is.
create trigger events_append_only before update or delete or truncate on events
    for each statement execute function refuse_change();

-- They look nowhere but in the catalog, whatever path the session has: a temporary table of the same name is not asked.
alter function refuse_change() set search_path = pg_catalog, pg_temp;

-- For whoever is not the owner, nor his function: with one role for all it refuses nothing.
create function refuse_to_others() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if pg_catalog.pg_has_role(current_user, (select c.relowner from pg_catalog.pg_class c where c.oid = tg_relid), 'usage') then
        return coalesce(new, old);
    end if;
    raise exception '% keeps what it was told: % refused', tg_table_name, tg_op using errcode = 'restrict_violation';
end
$$;
-- What was admitted stays as it was, but that what nobody understood may be understood once.
create trigger inbox_kept before update of source, id, kind, hash, fact, time, admitted_at on inbox
    for each row when (old.kind <> 'fact.unrecognised') execute function refuse_to_others();
-- An outcome stays; a refusal goes where the fact is decided anew.
create trigger ledger_facts_kept before delete on ledger_facts
    for each row when (old.outcome <> 'refused') execute function refuse_to_others();
