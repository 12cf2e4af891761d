-- Hand-overs: a reader that was added later is given the facts of its kinds that were admitted before it existed.
--
--   running ──► finished     every fact of the list has come to its end at the reader, or could not be read
--
-- What a hand-over is about is listed when it begins, in the order in which it goes out. So the inbox needs no further index,
-- which every admission would pay for; and whoever goes on with a hand-over that broke off reads on in the list.
create table hand_overs (
    hand_over   uuid        not null primary key,
    kind        text        collate "C" not null,
    reader      text        collate "C" not null,
    state       text        not null default 'running' check (state in ('running', 'finished')),
    began_at    timestamptz not null,
    -- Who began it.
    by          text        not null check (by <> ''),
    ended_at    timestamptz,
    -- How many are on the list.
    facts       bigint      not null default 0 check (facts >= 0),
    -- How far the list is done: the place of the last one.
    place       bigint      not null default 0 check (place >= 0),
    handed_over bigint      not null default 0 check (handed_over >= 0),
    -- They came to their end at the reader, or to a dead letter of his, since the list was made.
    left_out    bigint      not null default 0 check (left_out >= 0),
    -- This version could not read them.
    unreadable  bigint      not null default 0 check (unreadable >= 0),
    check (place = handed_over + left_out + unreadable),
    check ((state = 'finished') = (ended_at is not null))
);
-- One at a time for each reader and kind: who begins another goes on with this one.
create unique index hand_overs_running on hand_overs (kind, reader) where state = 'running';

-- The facts of a hand-over, in their order. Made with it in one transaction, and deleted before it is finished: a foreign
-- key would only make the list take twice as long.
create table hand_over_facts (
    hand_over uuid   not null,
    -- From 1, without a gap when it is made; what went out and is over at the reader is deleted.
    place     bigint not null check (place > 0),
    source    text   collate "C" not null,
    id        text   collate "C" not null,
    primary key (hand_over, place)
);
