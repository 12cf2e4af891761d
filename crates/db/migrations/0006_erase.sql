-- What dead letters say of persons can be erased once they are closed: the letter stays, its body and headers go.
alter table dead_letters add column erased_at timestamptz check (erased_at is null or closed_at is not null);

alter table dead_letter_audit drop constraint dead_letter_audit_action_check;
alter table dead_letter_audit add constraint dead_letter_audit_action_check
    check (action in ('replay', 'replay_ended', 'pause', 'resume', 'cancel', 'release', 'discard', 'undo', 'note', 'edit',
                      'export', 'drain', 'readmit', 'purge', 'erase'));
