-- Alerts about dead letters, and which facts the ledger's dead letters account for.

-- The dead-letters worker: what operators are told of. A row's change from not raised to raised, and back, is what is told:
-- once, whichever process sees it first. A kind of failures is told of once for good: its row stays, and is never raised again.
create table alerts (
    alert      text        not null check (alert in ('dead_letters_new_kind', 'dead_letters_inflow', 'dead_letters_oldest',
                                                     'dead_letters_at_stake', 'dead_letters_queue', 'replay_failing')),
    -- Which one, where an alert can be raised for several: a kind's fingerprint, a currency or credits, a replay; else empty.
    about      text        not null,
    raised_at  timestamptz not null,
    -- Null: it is raised.
    cleared_at timestamptz,
    -- As it was when it was raised.
    details    json        not null,
    primary key (alert, about)
);

-- How many came within a minute is asked every few seconds.
create index dead_letters_by_recording on dead_letters (recorded_at);

-- Retention: facts that nothing more is to come of, whose letter is deleted. They are no loss for a proof, ever.
create table forgone_facts (
    source     text        collate "C" not null,
    id         text        collate "C" not null,
    worker     text        not null,
    closed_at  timestamptz not null,
    closed_by  text        not null,
    primary key (worker, source, id)
);

-- Facts without an outcome that are not lost: a worker gave up on them and their letter waits for an operator, is being
-- replayed, or was discarded; or an operator made another fact of it. A letter that died again or goes on as itself has a
-- successor, which is about the same fact and says how it stands.
create view facts_given_up as
    select worker, source, id from dead_letters
    where source is not null and id is not null and state in ('open', 'replaying', 'discarded')
    union
    select l.worker, l.source, l.id from dead_letters l join dead_letters n on n.previous = l.letter
    where l.source is not null and l.id is not null and l.state = 'edited'
      and (n.source, n.id) is distinct from (l.source, l.id)
    union
    select worker, source, id from forgone_facts;
