-- The role that the fleet of docker-compose.yml runs as. Safe to repeat. A password that is given takes effect, also a new one;
-- without one the role keeps what it has. What it may do to the tables `bursar migrate --grant-to` says.
\getenv password BURSAR_RUNTIME_PASSWORD
\getenv has_own_url HAS_OWN_URL
select not exists (select from pg_roles where rolname = 'bursar_runtime') as is_new \gset
-- A new one that is given none has that of the default URL; where another URL is used it has none, and nobody can log in as it.
select case when :'password' <> '' then :'password' when :'is_new'::boolean and :'has_own_url' = '' then 'bursar' else '' end as password \gset
select :'password' <> '' as is_given \gset
\if :is_new
create role bursar_runtime;
\endif
alter role bursar_runtime with login nosuperuser nocreatedb nocreaterole;
\if :is_given
alter role bursar_runtime with password :'password';
\endif
