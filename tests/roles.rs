//! Two roles: whoever runs the fleet cannot change what is kept, nor the tables themselves; the owner migrates and grants.
//! (That the role that runs suffices is what every other test shows: they all run as one.)

use crate::binary::{Configuration, settings};
use db::roles::{RIGHTS, standing};
use sqlx::AssertSqlSafe;
use std::collections::BTreeSet;
use testkit::{Bursar, Settings, Site, run};

/// A row in each table, so that a trigger of a row has one to refuse.
const ROWS: &str = "
    insert into inbox (source, id, kind, hash, fact, time, admitted_at) values
        ('paddle', 'evt_1', 'fact.payment', sha256('x'), 'x', now(), now()),
        ('paddle', 'evt_2', 'fact.unrecognised', sha256('x'), 'x', now(), now());
    insert into outcomes (source, id, reader, kind, outcome, settled_at) values
        ('paddle', 'evt_1', 'ledger', 'fact.payment', 'applied', now()),
        ('paddle', 'evt_3', 'ledger', 'fact.grant', 'refused', now());
    insert into catalog_versions values ('c', '{}', now());
    insert into rules_versions values (1, '{}', 'c', now());
    insert into accounts (account) values ('a');
    insert into transactions (account, number, kind, cause_source, cause_id, at, hash, entries)
        values ('a', 1, 'grant', 'paddle', 'evt_1', now(), sha256('x'), '[]');
    insert into events (id, account, sequence, type, time, source, cause, data, hash)
        values (gen_random_uuid(), 'a', 1, 'credits.granted', now(), 'bursar/ledger', 'paddle/evt_1', '{}', sha256('x'));
    insert into dead_letter_audit (at, by, action) values (now(), 'ada', 'note');
    insert into audit (at, by, worker, act, subject_kind, subject) values (now(), 'ada', 'disputes', 'note', 'case', 'dp_1');
    insert into forgone_facts values ('paddle', 'evt_4', 'ledger', now(), 'ada');
    insert into payment_ids values ('paddle:txn_1', 'paddle:txn_1');
    insert into customers (customer) values ('paddle:ctm_1')";

async fn refused(site: &Site, statement: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&site.pool).await;
    let error = done.err().unwrap_or_else(|| panic!("{statement}: nobody refused it"));
    let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    // Not permitted, or refused by a trigger.
    assert!(matches!(code.as_deref(), Some("42501" | "23001")), "{statement}: {error}");
}

async fn done(site: &Site, statement: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&site.pool).await;
    let changed = done.unwrap_or_else(|error| panic!("{statement}: {error}")).rows_affected();
    assert_eq!(changed, 1, "{statement}");
}

#[test]
fn the_role_that_runs_can_change_nothing_that_is_kept() {
    run(async |site| {
        sqlx::raw_sql(ROWS).execute(&site.pool).await.expect("it may add to every table");
        for statement in [
            "update transactions set entries = '[]'",
            "delete from transactions",
            "update events set data = '{\"credits\":\"9\"}'",
            "update events set hash = sha256('y')",
            "delete from events",
            "update inbox set fact = 'y' where id = 'evt_1'",
            "update inbox set hash = sha256('y') where id = 'evt_1'",
            "update inbox set kind = 'fact.unrecognised' where id = 'evt_1'",
            "update inbox set time = now() where id = 'evt_1'",
            "update inbox set id = 'evt_9'",
            "update inbox set admitted_at = now()",
            "delete from inbox",
            "update outcomes set outcome = 'ignored'",
            "delete from outcomes where outcome = 'applied'",
            "update catalog_versions set content = '{}'",
            "delete from catalog_versions",
            "update rules_versions set content = '{}'",
            "delete from rules_versions",
            "update dead_letter_audit set by = 'eve'",
            "delete from dead_letter_audit",
            "delete from dead_letter_audit_letters",
            "update audit set by = 'eve'",
            "delete from audit",
            "update forgone_facts set worker = 'gate'",
            "delete from forgone_facts",
            "update payment_ids set id = 'paddle:txn_2'",
            "delete from payment_ids",
            "delete from customers",
            "delete from accounts",
            "delete from payments",
            "delete from lots",
            "update _sqlx_migrations set success = false",
        ] {
            refused(&site, statement).await;
        }
        // What it is there for.
        done(&site, "update inbox set repeats = repeats + 1 where id = 'evt_1'").await;
        done(
            &site,
            "update inbox set kind = 'fact.payment', fact = 'y', recognised_at = now() where id = 'evt_2'",
        )
        .await;
        refused(&site, "update inbox set fact = 'z' where id = 'evt_2'").await;
        done(&site, "delete from outcomes where outcome = 'refused'").await;
    });
}

#[test]
fn the_role_that_runs_can_change_no_table() {
    run(async |site| {
        for right in RIGHTS {
            let table = right.table;
            for statement in [
                format!("truncate {table}"),
                format!("drop table {table}"),
                format!("drop view {table}"),
                format!("alter table {table} disable trigger all"),
                format!("alter table {table} add column more text"),
                format!("create trigger mine before insert on {table} execute function refuse_change()"),
                format!("create index mine on {table} ((1))"),
            ] {
                let done = sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&site.pool).await;
                assert!(done.is_err(), "{statement}");
            }
        }
        for statement in [
            "create table mine (x text)",
            "create schema mine",
            "create or replace function refuse_change() returns trigger language plpgsql as 'begin return new; end'",
            "drop function refuse_change()",
            "set session_replication_role = replica",
            "alter role current_user superuser",
        ] {
            let done = sqlx::raw_sql(statement).execute(&site.pool).await;
            assert!(done.is_err(), "{statement}");
        }
    });
}

#[test]
fn the_rights_of_every_table_are_stated_and_granted_exactly() {
    run(async |site| {
        let there: BTreeSet<String> = site
            .texts(
                "select relname::text from pg_class
                 where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f', 'S')
                   and not exists (select from pg_depend d where d.objid = pg_class.oid and d.deptype in ('a', 'i') and relkind = 'S')",
            )
            .await
            .into_iter()
            .collect();
        let stated: BTreeSet<String> = RIGHTS.iter().map(|right| right.table.to_owned()).collect();
        assert_eq!(there, stated, "a table that a migration makes, and its rights in db::roles::RIGHTS");
        let runs = standing(&site.pool).await.unwrap();
        assert!(!runs.is_superuser && !runs.is_owner && !runs.may_create, "{runs:?}");
        assert_eq!((&runs.too_much, &runs.too_little), (&vec![], &vec![]));
        let owns = standing(&site.owner).await.unwrap();
        assert!(!owns.is_superuser && owns.is_owner && owns.may_create, "{owns:?}");
    });
}

/// The binary on the site as one role, without another for migrations.
fn alone(url: &secrecy::SecretString) -> Settings {
    let url = secrecy::ExposeSecret::expose_secret(url);
    Settings::default().with("BURSAR_DATABASE_URL", url).with("BURSAR_MIGRATE_URL", "")
}

async fn said(site: &Site, settings: &Settings, arguments: &[&str]) -> (Option<i32>, String) {
    // Fleets of other tests start at the same time.
    let settings =
        settings.clone().with("BURSAR_HTTP_ADDR", "127.0.0.1:0").with("BURSAR_ADMIN_ADDR", "127.0.0.1:0");
    let output = Bursar::run(site, &settings, arguments).await;
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code(), text)
}

#[test]
fn migrate_grants_what_the_fleet_needs_and_takes_what_it_does_not() {
    run(async |site| {
        let database = secrecy::ExposeSecret::expose_secret(&site.database_url);
        let role = database.split(['/', ':']).find(|part| part.starts_with("bursar_test_")).unwrap();
        let change = async |statement: String| {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&site.owner).await.unwrap();
        };
        // Both ways to say to whom.
        for arguments in [&["migrate"][..], &["migrate", "--grant-to", role]] {
            change(format!("grant truncate, delete on events to {role}; revoke insert on inbox from {role}"))
                .await;
            let before = standing(&site.pool).await.unwrap();
            assert_eq!(before.too_much, ["DELETE on events", "TRUNCATE on events"]);
            assert_eq!(before.too_little, ["INSERT on inbox"]);
            let (status, text) = said(&site, &Settings::default(), arguments).await;
            assert_eq!(status, Some(0), "{text}");
            assert!(text.contains(role), "{text}");
            let after = standing(&site.pool).await.unwrap();
            assert_eq!((after.too_much, after.too_little), (vec![], vec![]));
        }
        let (status, text) =
            said(&site, &Settings::default(), &["migrate", "--grant-to", "nobody there"]).await;
        assert!(status == Some(1) && text.contains("there is no such role: create it"), "{text}");
        let owner = format!("{role}_owner");
        let (status, text) = said(&site, &Settings::default(), &["migrate", "--grant-to", &owner]).await;
        assert!(status == Some(1) && text.contains("it owns them"), "{text}");
    });
}

#[test]
fn a_role_that_does_not_own_the_tables_says_who_has_to_migrate() {
    run(async |site| {
        let runs = alone(&site.database_url);
        let newest =
            "delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)";
        sqlx::query(newest).execute(&site.owner).await.unwrap();
        for arguments in [&["migrate"][..], &["up"]] {
            let (status, text) = said(&site, &runs, arguments).await;
            assert_eq!(status, Some(1), "{text}");
            assert!(
                text.contains("Run `bursar migrate` as the role that owns them (BURSAR_MIGRATE_URL)"),
                "{text}"
            );
        }
    });
}

#[test]
fn one_role_for_all_works_as_ever() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let one = alone(&site.owner_url);
        let (status, text) = said(&site, &one, &["migrate"]).await;
        assert_eq!(status, Some(0), "{text}");
        let settings =
            settings(&configuration).0.into_iter().fold(one, |all, (name, value)| all.with(&name, value));
        let bursar = Bursar::start(&site, &settings, &["up"]).await;
        bursar.terminate().await;
        let (status, text) = said(&site, &settings, &["ledger", "rebuild", "--compare"]).await;
        assert_eq!(status, Some(0), "{text}");
    });
}

#[test]
fn a_rebuild_is_the_owners() {
    run(async |site| {
        let (status, text) =
            said(&site, &alone(&site.database_url), &["ledger", "rebuild", "--compare"]).await;
        assert!(status == Some(1) && text.contains("name the tables' owner in BURSAR_MIGRATE_URL"), "{text}");
        let (status, text) = said(&site, &Settings::default(), &["ledger", "rebuild", "--compare"]).await;
        assert_eq!(status, Some(0), "{text}");
    });
}

/// The role that runs, which has the name of its database.
fn runtime_of(site: &Site) -> String {
    let url = secrecy::ExposeSecret::expose_secret(&site.database_url);
    url.split(['/', ':']).find(|part| part.starts_with("bursar_test_")).unwrap().to_owned()
}

async fn by_owner(site: &Site, statement: String) {
    let done = sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&site.owner).await;
    done.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

#[test]
fn a_temporary_table_named_like_the_catalog_opens_nothing() {
    run(async |site| {
        sqlx::raw_sql(ROWS).execute(&site.pool).await.expect("it may add to every table");
        let attack = |change: &str| {
            format!(
                "create temporary table pg_class (oid oid, relowner oid);
                 insert into pg_class select c.oid, r.oid from pg_catalog.pg_class c, pg_roles r
                     where c.relname in ('inbox', 'outcomes') and r.rolname = current_user;
                 set local search_path = pg_temp, pg_catalog, public; {change}"
            )
        };
        let changes = [
            "update public.inbox set fact = 'y' where id = 'evt_1'",
            "delete from public.outcomes where id = 'evt_1'",
        ];
        refused(&site, &attack(changes[0])).await;
        // Also where somebody gave the right to temporary tables back.
        let runtime = runtime_of(&site);
        by_owner(&site, format!("grant temporary on database {runtime} to {runtime}")).await;
        sqlx::raw_sql("create temporary table pg_class (oid oid); drop table pg_temp.pg_class")
            .execute(&site.pool)
            .await
            .expect("it has the right to temporary tables again");
        for change in changes {
            refused(&site, &attack(change)).await;
        }
    });
}

#[test]
fn functions_are_granted_by_name() {
    run(async |site| {
        let runtime = runtime_of(&site);
        by_owner(
            &site,
            format!(
                "create function more() returns void language sql security definer as 'delete from lots';
                 revoke execute on function more() from public; grant execute on function more() to {runtime}"
            ),
        )
        .await;
        db::roles::grant(&site.owner, &runtime).await.unwrap();
        refused(&site, "select more()").await;
        let may = "select proname::text from pg_proc where pronamespace = current_schema()::regnamespace
                   and proacl is not null and has_function_privilege(oid, 'execute')
                   and exists (select from aclexplode(proacl) a where a.grantee = current_user::regrole) order by 1";
        let mut granted: Vec<&str> = db::roles::FUNCTIONS.to_vec();
        granted.sort_unstable();
        assert_eq!(site.texts(may).await, granted);
    });
}

#[test]
fn a_member_of_the_owner_is_an_owner_whether_it_inherits_or_not() {
    run(async |site| {
        let runtime = runtime_of(&site);
        let owner = format!("{runtime}_owner");
        site.by_server_login(&format!("alter role {runtime} noinherit; grant {owner} to {runtime}")).await;
        assert!(standing(&site.pool).await.unwrap().is_owner);
        let (status, text) = said(&site, &Settings::default(), &["migrate", "--grant-to", &runtime]).await;
        assert!(status == Some(1) && text.contains("is a member of who does (inheriting or not)"), "{text}");
        site.by_server_login(&format!("revoke {owner} from {runtime}")).await;
    });
}

#[test]
fn a_right_to_a_column_is_seen_where_none_is_needed() {
    run(async |site| {
        let runtime = runtime_of(&site);
        by_owner(
            &site,
            format!(
                "grant update (data) on events to {runtime}; grant update (fact, repeats, id) on inbox to {runtime};
                 grant insert (source) on erased_facts to {runtime}; revoke update (refusals) on kept_messages from {runtime}"
            ),
        )
        .await;
        let found = standing(&site.pool).await.unwrap();
        assert_eq!(
            found.too_much,
            ["INSERT (source) on erased_facts", "UPDATE (data) on events", "UPDATE (id) on inbox"]
        );
        assert_eq!(found.too_little, ["UPDATE (refusals) on kept_messages"]);
    });
}

const NEWEST: &str =
    "delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)";

#[test]
fn a_database_with_workers_at_work_is_not_migrated() {
    run(async |site| {
        let workers = db::worker_pool(&site.database_url, 2, "bursar workers of the version before").unwrap();
        let _connection = workers.acquire().await.unwrap();
        let _another = workers.acquire().await.unwrap();
        // Where nothing is to be migrated, they may work.
        let (status, text) = said(&site, &Settings::default(), &["migrate"]).await;
        assert_eq!(status, Some(0), "{text}");
        sqlx::query(NEWEST).execute(&site.owner).await.unwrap();
        for arguments in [&["migrate"][..], &["up"]] {
            let (status, text) = said(&site, &Settings::default(), arguments).await;
            assert_eq!(status, Some(1), "{text}");
            assert!(
                text.contains(
                    "2 connections named \"bursar workers of the version before\". Stop its workers first"
                ),
                "{text}"
            );
        }
    });
}

#[test]
fn a_database_of_another_version_is_refused() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        for (change, part) in [
            (
                "update _sqlx_migrations set checksum = '' where version = 11",
                "the migration 11 was another one",
            ),
            (
                "update _sqlx_migrations set version = 9999 where version = 11",
                "the migration 9999, which it does not know",
            ),
        ] {
            sqlx::query(change).execute(&site.owner).await.unwrap();
            assert!(matches!(db::is_ready(&site.pool).await, Err(db::Error::OtherTables(_))));
            for arguments in [&["up"][..], &["run", "gate"]] {
                let (status, text) = said(&site, &settings, arguments).await;
                assert!(status == Some(1) && text.contains(part), "{text}");
            }
        }
    });
}

/// Workers that nobody stopped, at worst: what is in flight is waited for, and its events are chained with the others.
#[test]
fn an_upgrade_loses_no_event_that_was_in_flight() {
    use sqlx::migrate::Migrator;
    use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
    run(async |site| {
        by_owner(&site, "create schema older".to_owned()).await;
        let options: PgConnectOptions =
            secrecy::ExposeSecret::expose_secret(&site.owner_url).parse().unwrap();
        let older = PgPoolOptions::new().connect_lazy_with(options.options([("search_path", "older")]));
        let released = db::MIGRATIONS.iter().filter(|migration| migration.version < 11).cloned().collect();
        Migrator::with_migrations(released).run(&older).await.unwrap();
        let event = |id: u8, sequence: u8| {
            format!(
                "insert into events (id, account, sequence, type, time, source, cause, data) values
                     ('00000000-0000-0000-0000-00000000000{id}', 'a', {sequence}, 'x', now(), 'bursar/ledger', 'paddle/evt_{id}', '{{}}');
                 update accounts set sequence = {sequence} where account = 'a'"
            )
        };
        sqlx::raw_sql(AssertSqlSafe(format!("insert into accounts (account) values ('a'); {}", event(1, 1))))
            .execute(&older)
            .await
            .unwrap();
        let mut in_flight = older.begin().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(event(2, 2))).execute(&mut *in_flight).await.unwrap();
        let pool = older.clone();
        let migrating = tokio::spawn(async move { db::MIGRATIONS.run(&pool).await });
        site.until(
            "select count(*) from pg_locks where not granted and database = (select oid from pg_database where datname = current_database())",
            1,
        )
        .await;
        in_flight.commit().await.unwrap();
        migrating.await.unwrap().unwrap();
        let (events, chained): (i64, bool) = sqlx::query_as(
            "select count(*), bool_or(e.sequence = 2 and e.hash = a.events_head) from events e join accounts a using (account)",
        )
        .fetch_one(&older)
        .await
        .unwrap();
        assert_eq!((events, chained), (2, true));
        older.close().await;
    });
}
