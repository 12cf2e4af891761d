-- An account's balances and what restricts it, as of one moment. $1: the account.
-- The table comes with migration 0023: until then nothing restricts anybody.
select available, held, debt, sequence,
       '[]'::jsonb as "restrictions!: Json<Vec<Restriction>>"
from accounts
where account = $1
