-- What operators do is written down for good. Most of it is in a place of its own: as a fact under the source of the operator
-- (inbox), as an act on dead letters (dead_letter_audit), as an erasure (erasures), as a hand-over (hand_overs). An act that is none
-- of these is a row here, written in the transaction that carries it out. One list of all of them: crates/facts/src/audit/acts.sql.

-- Append-only. An erasure does not reach it: reason and details name nobody but the operator.
create table audit (
    number       bigint      not null generated always as identity primary key,
    at           timestamptz not null,
    by           text        collate "C" not null check (by <> ''),
    worker       text        collate "C" not null check (worker ~ '^[a-z][a-z0-9_-]{0,59}$'),
    -- A word of the worker's own.
    act          text        collate "C" not null check (act ~ '^[a-z][a-z0-9_]{0,59}$'),
    -- What it was done to: an account, a payment, a letter, a fact, a case, a job, ...
    subject_kind text        collate "C" not null check (subject_kind ~ '^[a-z][a-z0-9_]{0,59}$'),
    subject      text        collate "C" not null check (subject <> ''),
    -- Whose subject it is, where it is an account's.
    account      text        collate "C",
    reason       text,
    details      json
);
create index audit_by_time on audit (at);
create index audit_by_operator on audit (by, at);
create index audit_by_subject on audit (subject, at);
create index audit_by_account on audit (account, at) where account is not null;
create trigger audit_append_only before update or delete or truncate on audit
    for each statement execute function refuse_change();

-- The list of all acts reads the latest of each place. What is written down of many letters takes its time.
set local statement_timeout = 0;
create index dead_letter_audit_by_time on dead_letter_audit (at);
