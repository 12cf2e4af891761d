-- Replays: what is asked ten times a second is read from indexes of what is on its way, and letters are told apart by
-- Postgres's clock alone.

-- Every letter is rewritten: that may take longer than a statement of the fleet.
set local statement_timeout = 0;

-- When it came last, by the clock of Postgres: workers' clocks differ.
alter table dead_letters add column told_at timestamptz;
update dead_letters set told_at = recorded_at;
alter table dead_letters alter column told_at set default clock_timestamp(), alter column told_at set not null;

-- What waits, in the order in which it goes out; what is on its way; what died again. The rest is only counted in the end.
drop index replay_letters_by_state;
create index replay_letters_waiting on replay_letters (replay, place) where state = 'waiting';
create index replay_letters_published on replay_letters (replay, letter) where state = 'published';
create index replay_letters_dead_again on replay_letters (replay) where state = 'dead_again';
-- A letter of a replay is found by both: the planner has no choice to get wrong.
alter table replay_letters drop constraint replay_letters_pkey, add primary key (letter, replay);
drop index replay_letters_by_letter;
create unique index replay_letters_by_place on replay_letters (replay, place);
create index replays_ended on replays (ended_at) where ended_at is not null;

-- A letter that is put back changes its state and its replay: no index says either, so that it costs none of them anything.
-- What is listed, grouped and counted are nearly always those that are open still.
drop index dead_letters_by_state;
drop index dead_letters_by_age;
-- Letters are numbered in time.
drop index dead_letters_by_recording;
create index dead_letters_by_age on dead_letters (first_failed_at, dead_at, letter) where closed_at is null;

-- Whether a letter is one that a filter means, whatever its state, and whichever letters it names. Without a subquery, so that
-- the planner looks into it.
create function dead_letter_fits(l dead_letters, filter jsonb) returns boolean language sql stable as $$
    select (filter -> 'worker' is null or l.worker = filter ->> 'worker')
       and (filter -> 'type' is null or l.fact_type = filter ->> 'type')
       and (filter -> 'code' is null or l.code = filter ->> 'code')
       and (filter -> 'fingerprint' is null or l.fingerprint = filter ->> 'fingerprint')
       and (filter -> 'account' is null or l.account = filter ->> 'account')
       and (filter -> 'event' is null or filter ->> 'event' in (l.id, l.source || '/' || l.id, l.message_id))
       and (filter -> 'since' is null or l.dead_at >= (filter ->> 'since')::timestamptz)
       and (filter -> 'until' is null or l.dead_at < (filter ->> 'until')::timestamptz)
       and (filter -> 'text' is null
            or position(lower(filter ->> 'text') in lower(l.reason)) > 0
            or position(convert_to(filter ->> 'text', 'UTF8') in l.body) > 0)
$$;

-- The key of a letter is the SHA-256 of worker, queue, message id, replay and body.
comment on column dead_letters.key is 'SHA-256 of worker, queue, message id, replay and body';

-- Open letters and closed ones apart: who asks for one kind reads nothing of the other.
create or replace function dead_letters_meant(filter jsonb) returns setof dead_letters language sql stable as $$
    select l.* from dead_letters l
    where l.closed_at is null and filter -> 'states' ?| array['open', 'replaying']
      and filter -> 'states' ? l.state and dead_letter_fits(l, filter)
      and (filter -> 'letters' is null or l.letter = any (array(select jsonb_array_elements_text(filter -> 'letters')::uuid)))
    union all
    select l.* from dead_letters l
    where l.closed_at is not null and filter -> 'states' ?| array['resolved', 'dead_again', 'edited', 'discarded']
      and filter -> 'states' ? l.state and dead_letter_fits(l, filter)
      and (filter -> 'letters' is null or l.letter = any (array(select jsonb_array_elements_text(filter -> 'letters')::uuid)))
$$;
create index replays_going on replays (replay) where ended_at is null;
-- With a letter goes what replays did with it.
delete from replay_letters r where not exists (select from dead_letters l where l.letter = r.letter);
