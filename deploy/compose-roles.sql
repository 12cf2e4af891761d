-- The role that the fleet of docker-compose.yml runs as. Safe to repeat; a new password takes effect. What it may do to the tables
-- `bursar migrate --grant-to` says.
\getenv password BURSAR_RUNTIME_PASSWORD
select 'create role bursar_runtime' where not exists (select from pg_roles where rolname = 'bursar_runtime') \gexec
alter role bursar_runtime with login nosuperuser nocreatedb nocreaterole password :'password';
