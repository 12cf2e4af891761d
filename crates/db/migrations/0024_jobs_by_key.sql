-- Jobs are looked for key by key where a long line of a full key stands in front, and by account where one is erased.

-- The index is made while the fleet may run: who schedules or takes a job waits so long.
set local statement_timeout = 0;
lock table jobs in share row exclusive mode;

-- Whose account the intent is about, where it is about one: erasure asks. What was scheduled before says nothing of it.
alter table jobs add column account text collate "C" check (octet_length(account) between 1 and 255);

-- The first row of each key: how the look leaps over keys that are full. The states as the statement names them.
create index jobs_by_key on jobs (kind, key, next_at) where state in ('due', 'calling', 'unknown', 'asking');
create index jobs_of_account on jobs (account) where account is not null and forgotten_at is null;
