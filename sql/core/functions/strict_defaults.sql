-- Names for whom, of those who may insert into a table, transactions are stricter than READ
-- COMMITTED unless they say otherwise.
--
-- The setting of a role in a database goes before that of the role, that of the database and the
-- server's. What a client sets in its own session or connection string cannot be seen from here.

create or replace function maintenance.strict_defaults(relation regclass)
returns text[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select array(
        select strict.who
        from (
            select
                coalesce(
                    nullif(
                        concat_ws(
                            ' in ',
                            case
                                when setting.setrole <> 0 then
                                    'role ' || pg_get_userbyid(setting.setrole)
                            end,
                            case
                                when setting.setdatabase <> 0 then 'database ' || current_database()
                            end
                        ),
                        ''
                    ),
                    'all roles'
                ) as who
            from pg_catalog.pg_db_role_setting as setting
            cross join lateral unnest(setting.setconfig) as configured (text)
            where setting.setdatabase in (
                0, (select oid from pg_catalog.pg_database where datname = current_database())
            )
              and (
                  setting.setrole = 0
                  or has_table_privilege(setting.setrole, strict_defaults.relation, 'insert')
              )
              and lower(configured.text) in (
                  'default_transaction_isolation=repeatable read',
                  'default_transaction_isolation=serializable'
              )

            union all
            select 'this server'
            from pg_catalog.pg_settings as setting
            where setting.name = 'default_transaction_isolation'
              and setting.source in ('configuration file', 'command line', 'environment variable')
              and setting.setting in ('repeatable read', 'serializable')
        ) as strict
        order by strict.who
    );
$function$;

revoke all on function maintenance.strict_defaults(regclass) from public;

comment on function maintenance.strict_defaults(regclass) is
    'List the roles and databases whose transactions sweep nothing, for their isolation level.';
