-- Restrictions that stand without a cause, and accounts whose last event of their standing told another one.
with standing as (
    select account, kind, cause_kind, cause, stage from restrictions where ended_at is null
), uncaused as (
    select s.account, 'an open case of the account behind ' || s.kind || ' of ' || s.cause as expected,
           coalesce('a case that is ' || d.state || coalesce(' of ' || d.account, ' of nobody'), 'no case') as got
    from standing s left join disputes d on d.dispute = s.cause
    where s.cause_kind = 'case'
      and (d.dispute is null or d.account is distinct from s.account or d.is_claimed
           or d.state in ('won', 'prevented', 'withdrawn'))
), accounts_restricted as (
    select account from restrictions
    union
    select account from events where type in ('account.restricted', 'account.restored') and account is not null
), told as (
    -- Of an account with very many the event lists the first alone: there the number is what can be compared.
    select a.account, e.data -> 'standing' -> 'restrictions' as restrictions,
           coalesce((e.data -> 'standing' ->> 'more')::bigint, 0) as more
    from accounts_restricted a cross join lateral (
        select data from events e
        where e.account = a.account and e.type in ('account.restricted', 'account.restored')
        order by e.sequence desc limit 1) e
), compared as (
    select a.account,
           (select coalesce(string_agg(distinct x, ', ' order by x), 'nothing') from (
                select s.kind || ' by ' || s.cause_kind || case s.cause_kind when 'risk_rule' then '' else ' ' || s.cause end
                from standing s where s.account = a.account) n (x)) as stands,
           (select coalesce(string_agg(distinct x, ', ' order by x), 'nothing') from (
                select (r ->> 'kind') || ' by ' || (r ->> 'cause') || coalesce(' ' || (r ->> 'case'), ' ' || (r ->> 'by'), '')
                from told t cross join lateral json_array_elements(t.restrictions) r where t.account = a.account) n (x)) as told
    from accounts_restricted a
)
select account as "account!", expected as "expected!", got as "got!" from uncaused
union all
select c.account, 'told that this restricts it: ' || c.stands, c.told
from compared c left join told t using (account)
where c.stands <> c.told and coalesce(t.more, 0) = 0
union all
select t.account, 'told of ' || n.reasons || ' reasons', 'told of ' || (json_array_length(t.restrictions) + t.more)
from told t cross join lateral (
    select count(distinct (s.kind, s.cause_kind, s.cause)) as reasons from standing s where s.account = t.account) n
where t.more > 0 and n.reasons <> json_array_length(t.restrictions) + t.more
limit $1
