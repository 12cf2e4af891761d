-- Disputes, and what accounts may not do meanwhile.

-- A case: what its facts say together. The record is a function of the set of facts, everything else here one of the record and
-- of the payment's account; so whoever has locked the row writes it whole.
create table disputes (
    dispute          text        collate "C" not null primary key,
    -- The ids of the purchase that its facts name; the payment that they lead to and its account, once these are known.
    payment_ids      text[]      collate "C" not null,
    payment          text        collate "C",
    account          text        collate "C",
    -- Nobody vouches for the account: the buyer's browser may have named it. Such a case restricts nobody.
    is_claimed       boolean     not null default false,
    record           json        not null,
    -- Null only within the transaction that inserts the row.
    state            text        check (state in ('warning', 'open', 'under_review', 'won', 'lost', 'prevented', 'withdrawn',
                                                  'reopened')),
    reopened         integer     not null default 0 check (reopened >= 0),
    -- Names the part of its life that stands: restrictions that were lifted are lifted for that part.
    epoch            text        collate "C" not null default '',
    is_early_warning boolean     not null default false,
    opened_at        timestamptz,
    heard_at         timestamptz,
    evidence_due_by  timestamptz,
    amount           numeric,
    currency         text        collate "C",
    illegal_steps    integer     not null default 0 check (illegal_steps >= 0),
    -- What events last told of it; null before the first.
    told             json,
    created_at       timestamptz not null,
    updated_at       timestamptz not null,
    check ((amount is null) = (currency is null))
) with (fillfactor = 80);
create index disputes_by_account on disputes (account) where account is not null;
create index disputes_by_payment on disputes (payment) where payment is not null;
create index disputes_waiting on disputes (created_at) where account is null;
create index disputes_by_payment_id on disputes using gin (payment_ids);
create index disputes_by_state on disputes (state, opened_at, dispute);
create index disputes_by_opening on disputes (opened_at, dispute);
create index disputes_due on disputes (evidence_due_by) where evidence_due_by is not null;
create index disputes_silent on disputes (heard_at)
    where state in ('warning', 'open', 'under_review', 'reopened');

-- What an account may not do: one row for each reason. It stands while ended_at is null. A row stays, so that what an operator
-- has lifted is not put on again for the same reason.
create table restrictions (
    account    text        collate "C" not null,
    kind       text        collate "C" not null check (kind in ('access', 'checkout', 'balance')),
    cause_kind text        collate "C" not null check (cause_kind in ('case', 'risk_rule', 'operator')),
    -- The case, the rule, or the operator.
    cause      text        collate "C" not null,
    -- Of a case its stage and round; of the rule the case that fulfilled it; of an operator the act.
    stage      text        collate "C" not null,
    since      timestamptz not null,
    ended_at   timestamptz,
    -- The operator who lifted it.
    lifted_by  text        collate "C",
    primary key (account, kind, cause_kind, cause, stage),
    check (lifted_by is null or ended_at is not null)
) with (fillfactor = 80);
create index restrictions_standing on restrictions (account) where ended_at is null;
create index restrictions_by_cause on restrictions (cause);

-- Evidence packs as they were exported or submitted: what was sent can be shown again. They hold what facts say of a person.
create table evidence_packs (
    dispute  text        collate "C" not null references disputes,
    -- Of the document.
    sha256   bytea       not null check (length(sha256) = 32),
    made_at  timestamptz not null,
    made_by  text        collate "C" not null,
    -- Whose data it holds: also after the payment went to another account.
    account  text        collate "C" not null,
    document text        not null,
    pdf      bytea       not null,
    primary key (dispute, sha256)
);

-- Evidence handed to the processor: the intent, and what became of it. The calls are jobs.
create table evidence_submissions (
    submission   text        collate "C" not null primary key,
    dispute      text        collate "C" not null references disputes,
    sha256       bytea       not null,
    -- Sent to the bank for good, or staged only.
    is_final     boolean     not null,
    by           text        collate "C" not null,
    reason       text        not null,
    requested_at timestamptz not null,
    state        text        not null check (state in ('requested', 'uploaded', 'staged', 'submitted', 'refused', 'unknown')),
    -- The processor's id of the uploaded document.
    file         text,
    -- The processor's words where it refused.
    answer       text,
    ended_at     timestamptz,
    foreign key (dispute, sha256) references evidence_packs
);
create index evidence_packs_by_account on evidence_packs (account);
-- What went to the bank, or may have, does not go there again.
create unique index evidence_submissions_final on evidence_submissions (dispute) where is_final and state <> 'refused';
create index evidence_submissions_by_dispute on evidence_submissions (dispute, requested_at);

-- What processors said of disputes and nobody understood: it is looked for every few seconds, among whatever else was not.
create index inbox_unrecognised_disputes on inbox (source, admitted_at, id)
    where kind = 'fact.unrecognised'
      and (fact like '%"event_type":"charge.dispute.%' or fact like '%"event_type":"radar.early_fraud_warning.%'
           or fact like '%"event_type":"adjustment.%');

-- Evidence is about the lots of one payment.
create index lots_by_payment on lots (payment) where payment is not null;

-- Why an operator restricts or restores is text that people wrote; the digests of an address and of a device are data of a person.
-- The inbox may be large.
set local statement_timeout = 0;
drop index inbox_texts;
create index inbox_texts on inbox (admitted_at, source, id)
    where erased_at is null
      and kind in ('fact.usage', 'fact.payment', 'fact.refund_request', 'fact.dispute', 'fact.customer', 'fact.grant',
                   'fact.adjustment', 'fact.assignment', 'fact.valuation', 'fact.restriction')
      and (fact like '%"description":%' or fact like '%"reason":%' or fact like '%"transaction":%' or fact like '%"ip":%'
           or fact like '%"device":%');
create or replace view facts_with_texts as
    select source, id, kind, fact, admitted_at from inbox
    where erased_at is null
      and kind in ('fact.usage', 'fact.payment', 'fact.refund_request', 'fact.dispute', 'fact.customer', 'fact.grant',
                   'fact.adjustment', 'fact.assignment', 'fact.valuation', 'fact.restriction')
      and (fact like '%"description":%' or fact like '%"reason":%' or fact like '%"transaction":%' or fact like '%"ip":%'
           or fact like '%"device":%');
create or replace function without_texts(kind text, fact text) returns text language sql immutable as $$
    select '{' || string_agg(to_json(key)::text || ':' ||
                             case when json_typeof(value) = 'string' and key = any (case
                                      when kind = 'fact.usage' then array['description', 'ip', 'device']
                                      when kind = 'fact.payment' then array['ip', 'device']
                                      when kind = 'fact.refund_request' then array['transaction', 'reason']
                                      when kind in ('fact.dispute', 'fact.customer', 'fact.grant', 'fact.adjustment',
                                                    'fact.assignment', 'fact.valuation', 'fact.restriction')
                                          then array['reason']
                                      else '{}'::text[] end)
                                  then '"[erased]"' else value::text end, ',' order by place) || '}'
    from json_each(fact::json) with ordinality as f (key, value, place)
$$;
