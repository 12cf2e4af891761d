-- Failures: dead letters and what operators do with them, and messages that the process may end by.

-- The consumer loop: messages that are settled with care, and how often the process ended over each.
create table suspects (
    key    bytea       not null primary key check (length(key) = 32),
    worker text        not null,
    tries  integer     not null check (tries > 0),
    since  timestamptz not null
);

-- The dead-letters worker: every message that a worker gave up on, with everything needed to understand and replay it.
--
--   open ── replay ──► replaying ──► resolved
--    │ ▲                    └──────► dead_again   its successor (previous = this) is open
--    │ └── undo, released by a cancelled replay, came again after it was resolved
--    ├── discard ──► discarded
--    └── edit ─────► edited          its successor (previous = this) is open
create table dead_letters (
    -- Numbered in time: version 7.
    letter          uuid        not null primary key,
    -- SHA-256 of worker, message id, replay and body: a letter that the broker brings twice is known as one.
    key             bytea       not null unique check (length(key) = 32),
    state           text        not null check (state in ('open', 'replaying', 'resolved', 'dead_again', 'edited', 'discarded')),
    -- Who gave up on it, in which queue it lay, why.
    worker          text        not null,
    queue           text        not null,
    code            text        not null,
    reason          text        not null,
    fingerprint     text        not null,
    -- Every attempt that failed: [{at, why}].
    attempts        json        not null,
    first_failed_at timestamptz not null,
    dead_at         timestamptz not null,
    recorded_at     timestamptz not null,
    -- How often the same came.
    copies          integer     not null default 1 check (copies > 0),
    -- The message as it first came.
    exchange        text        not null,
    routing_key     text        not null,
    message_id      text        not null,
    content_type    text,
    user_id         text,
    headers         json        not null,
    body            bytea       not null,
    traceparent     text,
    -- What it is about, as far as it can be read.
    fact_type       text,
    source          text        collate "C",
    id              text        collate "C",
    account         text        collate "C",
    payment         text        collate "C",
    amount          numeric,
    currency        text,
    credits         numeric,
    -- Where it comes from, if from another letter; the replay it is or was part of.
    previous        uuid,
    diff            json,
    replay          uuid,
    -- What became of it.
    closed_at       timestamptz,
    closed_by       text,
    outcome         text,
    check ((state in ('open', 'replaying')) = (closed_at is null)),
    check ((amount is null) = (currency is null))
);
create index dead_letters_by_state on dead_letters (state, dead_at);
create index dead_letters_by_fingerprint on dead_letters (fingerprint, dead_at);
create index dead_letters_by_fact on dead_letters (source, id);
create index dead_letters_by_account on dead_letters (account) where account is not null;
create index dead_letters_by_previous on dead_letters (previous) where previous is not null;
create index dead_letters_closed on dead_letters (closed_at) where closed_at is not null;

-- Which letters a filter means: those that fit everything that is set in it, in one of its states.
create function dead_letters_meant(filter jsonb) returns setof dead_letters language sql stable as $$
    select * from dead_letters l
    where l.state in (select jsonb_array_elements_text(filter -> 'states'))
      and (filter -> 'letters' is null or l.letter in (select jsonb_array_elements_text(filter -> 'letters')::uuid))
      and (filter -> 'worker' is null or l.worker = filter ->> 'worker')
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

-- The dead-letters worker: kinds of failures that were ever seen.
create table fingerprints (
    fingerprint text        not null primary key,
    worker      text        not null,
    fact_type   text,
    code        text        not null,
    -- The reason without what differs from message to message.
    reason      text        not null,
    first_seen  timestamptz not null
);

-- Operators: replays, carried out by the dead-letters worker.
--
--   running ◄──► paused
--      ├──► finished    every outcome is known
--      ├──► stopped     a canary failed again: what had not gone out is open again
--      └──► cancelled   likewise
create table replays (
    replay     uuid        not null primary key,
    state      text        not null check (state in ('running', 'paused', 'finished', 'stopped', 'cancelled')),
    by         text        not null,
    reason     text,
    filter     json        not null,
    total      integer     not null check (total > 0),
    -- So many first; the rest once none of them failed again.
    canary     integer     check (canary > 0),
    -- Messages a second; as fast as the fleet where it is null.
    rate       double precision check (rate > 0),
    started_at timestamptz not null,
    -- When the next messages may go out.
    next_at    timestamptz not null,
    ended_at   timestamptz,
    check ((state in ('running', 'paused')) = (ended_at is null))
);
create index replays_running on replays (next_at) where state = 'running';

-- Which letters a replay puts back, oldest first, and what became of each.
create table replay_letters (
    replay       uuid        not null,
    place        integer     not null check (place > 0),
    letter       uuid        not null,
    state        text        not null check (state in ('waiting', 'published', 'resolved', 'dead_again', 'released')),
    outcome      text,
    published_at timestamptz,
    settled_at   timestamptz,
    primary key (replay, place)
);
-- A letter is in the hands of one replay at most, whoever starts it.
create unique index replay_letters_in_hand on replay_letters (letter) where state in ('waiting', 'published');
create index replay_letters_by_letter on replay_letters (letter);
create index replay_letters_by_state on replay_letters (replay, state, place);

-- Operators: what was done with dead letters. Append-only.
create table dead_letter_audit (
    number      bigint      not null generated always as identity primary key,
    at          timestamptz not null,
    by          text        not null,
    action      text        not null check (action in ('replay', 'replay_ended', 'pause', 'resume', 'cancel', 'release',
                                                       'discard', 'undo', 'note', 'edit', 'export', 'drain', 'readmit', 'purge')),
    -- One letter, a kind of letters, or a replay.
    letter      uuid,
    fingerprint text,
    replay      uuid,
    filter      json,
    letters     integer,
    reason      text,
    result      json
);
create index dead_letter_audit_by_letter on dead_letter_audit (letter) where letter is not null;
create index dead_letter_audit_by_fingerprint on dead_letter_audit (fingerprint) where fingerprint is not null;
create trigger dead_letter_audit_append_only before update or delete or truncate on dead_letter_audit
    for each statement execute function refuse_change();
