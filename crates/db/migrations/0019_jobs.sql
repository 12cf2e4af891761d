-- Durable calls to the outside: one row is one intent, and what is known of the calls that were made for it. What the states
-- mean and which follows which is drawn in crates/jobs/src/job.rs.

create table jobs (
    kind         text        collate "C" not null check (kind ~ '^[a-z][a-z0-9_]{0,59}$'),
    id           text        collate "C" not null check (octet_length(id) between 1 and 180),
    -- What calls are limited by: an endpoint, a transaction.
    key          text        collate "C" not null check (octet_length(key) between 1 and 255),
    intent       json        not null,
    state        text        not null check (state in ('due', 'calling', 'unknown', 'asking', 'done', 'dead')),
    -- When something has to happen next: a call, a question, the end of a lease, a dead letter that is still to be published.
    next_at      timestamptz,
    -- Calls that were begun, ever.
    attempt      int         not null default 0,
    -- The same since it was scheduled or replayed.
    calls        int         not null default 0,
    -- Questions about an unknown end, since then.
    asks         int         not null default 0,
    -- Of who calls or asks. Another holder has another one.
    holder       uuid,
    scheduled_at timestamptz not null,
    -- The latest call.
    called_at    timestamptz,
    ended_at     timestamptz,
    -- Intent, key, reason and failures are purged. The row stays for good: an id is carried out once, however late it is
    -- scheduled again.
    forgotten_at timestamptz,
    -- What failed: [{"at": ..., "why": ...}], the latest ones.
    failures     jsonb       not null default '[]',
    -- Of a dead one: why, and whether what became of its last call is not known.
    code         text,
    reason       text,
    is_unknown   boolean     not null default false,
    -- The replay that put it back last, and the dead letter it was.
    replay       uuid,
    letter       uuid,
    primary key (kind, id),
    constraint jobs_held check ((state in ('calling', 'asking')) = (holder is not null)),
    constraint jobs_ended check ((state in ('done', 'dead')) = (ended_at is not null)),
    -- Nothing waits for ever. A dead one has a time until its letter is published.
    constraint jobs_next check (next_at is not null or state in ('done', 'dead')),
    constraint jobs_done check (state <> 'done' or next_at is null),
    constraint jobs_forgotten check (forgotten_at is null or (ended_at is not null and next_at is null)),
    constraint jobs_dead check ((state = 'dead') = (code is not null) and (code is null) = (reason is null)),
    constraint jobs_called check ((attempt = 0) = (called_at is null) and attempt >= calls and calls >= 0 and asks >= 0)
);

-- What is due, whose lease has ended, whose letter is to be published.
create index jobs_next on jobs (kind, next_at) where next_at is not null;
-- Calls and questions under way: as many as the limits allow.
create index jobs_running on jobs (kind, key) where state in ('calling', 'asking');
create index jobs_over on jobs (ended_at) where ended_at is not null and forgotten_at is null;
