-- Which letters an act was about, where it was about letters: the audit of one letter finds the acts on many. Those of a
-- replay are in replay_letters. Append-only, as the audit is.
create table dead_letter_audit_letters (
    letter uuid   not null,
    number bigint not null,
    primary key (letter, number)
);
create trigger dead_letter_audit_letters_append_only before update or delete or truncate on dead_letter_audit_letters
    for each statement execute function refuse_change();

-- The oldest is what failed first: a replay that failed again is no new failure.
create index dead_letters_by_age on dead_letters (state, first_failed_at);
