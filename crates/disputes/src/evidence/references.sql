-- What facts say of where payments were made from; the latest first.
select o.payment as "payment!", nullif(i.fact::json ->> 'ip', '[erased]') as ip,
       nullif(i.fact::json ->> 'device', '[erased]') as device
from outcomes o join inbox i on i.source = o.source and i.id = o.id
where o.payment = any($1::text[]) and o.reader = 'ledger' and o.kind = 'fact.payment'
order by o.payment, i.time desc, i.source, i.id
