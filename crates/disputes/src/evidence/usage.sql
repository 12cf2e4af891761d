-- What an account used from a moment on, by the day (UTC) on which it happened.
select (i.time at time zone 'UTC')::date as "day!", count(*) as "count!",
       coalesce(sum((i.fact::json ->> 'credits')::numeric), 0) as "credits!",
       min(i.time) as "first_at!", max(i.time) as "last_at!",
       count(i.fact::json ->> 'reference') as "named!",
       coalesce((array_agg(i.fact::json ->> 'reference' order by i.time, i.id)
                 filter (where i.fact::json ->> 'reference' is not null))[1:$3], '{}') as "references!",
       coalesce(array_agg(distinct i.fact::json ->> 'ip')
                filter (where i.fact::json ->> 'ip' <> '[erased]'), '{}') as "ips!",
       coalesce(array_agg(distinct i.fact::json ->> 'device')
                filter (where i.fact::json ->> 'device' <> '[erased]'), '{}') as "devices!"
from transactions t join inbox i on i.source = t.cause_source collate "C" and i.id = t.cause_id collate "C"
where t.account = $1 and t.kind = 'usage' and i.kind = 'fact.usage' and i.time >= $2
group by 1 order by 1
