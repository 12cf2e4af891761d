-- How much there is to check.
select (select count(*) from accounts where $1::text is null or account = $1) as "accounts!",
       (select count(*) from transactions where $1::text is null or account = $1) as "transactions!",
       (select count(*) from lots where $1::text is null or account = $1) as "lots!",
       (select count(*) from events where account is not null and ($1::text is null or account = $1)) as "events!",
       (select count(*) from payments where state = 'delivered' and ($1::text is null or account = $1)) as "payments!",
       (select count(*) from outbox) as "outbox!",
       (select count(*) from outcomes
        where reader = 'ledger' and kind in ('fact.usage', 'fact.grant', 'fact.adjustment') and outcome = 'applied')
         as "usages_and_grants!"
