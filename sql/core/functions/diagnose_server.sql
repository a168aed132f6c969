-- Says what keeps vacuum from its work, in this database and on its server.
--
-- A database is up to freeze_max_age transactions behind as a matter of course: that is when
-- autovacuum freezes what nobody has touched. At twice that age it does not manage to.

create or replace function maintenance.diagnose_server(
    longest interval default '1 h',
    freeze_max_age bigint default current_setting('autovacuum_freeze_max_age')::bigint
)
returns table (subject text, name text, state text, message text, remedy text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select
        'monitoring',
        current_user::text,
        case when granted.sees_all then 'ok' else 'notice' end,
        case
            when granted.sees_all then 'it sees what sessions of other roles do'
            else 'it does not see what sessions of other roles do'
        end,
        case
            when not granted.sees_all then format('grant pg_read_all_stats to %I', current_user)
        end
    from (select pg_has_role('pg_read_all_stats', 'usage')) as granted (sees_all)

    union all
    select
        'vacuum',
        setting.name,
        case when current_setting(setting.name)::boolean then 'ok' else 'problem' end,
        case
            when current_setting(setting.name)::boolean then 'it is on'
            else 'it is off: ' || setting.effect
        end,
        case
            when not current_setting(setting.name)::boolean then
                format('alter system set %I = on, or what your host has instead', setting.name)
        end
    from (
        values
            ('autovacuum', 'the space of removed rows is not used again'),
            ('track_counts', 'autovacuum does not know where it is needed')
    ) as setting (name, effect)

    union all
    select
        'horizon',
        concat_ws(' ', horizon.kind, horizon.pid, nullif(horizon.name, '')),
        case
            when horizon.since < clock_timestamp() - longest then 'problem'
            when horizon.since is null and horizon.age > 1000000 then 'notice'
            else 'ok'
        end,
        concat_ws(
            ' ',
            'it keeps dead rows, of',
            horizon.age,
            'transactions',
            'since ' || date_trunc('second', horizon.since),
            format('(%I)', horizon.role)
        ),
        case
            when horizon.since is null and horizon.age <= 1000000 then null
            when horizon.since >= clock_timestamp() - longest then null
            when horizon.kind = 'session' then
                format('select pg_terminate_backend(%s), if nobody needs it', horizon.pid)
            when horizon.kind = 'prepared transaction' then
                format('rollback prepared %L, if nobody needs it', horizon.name)
            when horizon.kind = 'replication slot' then
                format('select pg_drop_replication_slot(%L), if nobody needs it', horizon.name)
            else 'end long queries on the standby, or switch its hot_standby_feedback off'
        end
    from maintenance.xmin_horizon as horizon

    union all
    select
        'horizon',
        null,
        'unknown',
        'whether sessions of other roles keep dead rows',
        'needs pg_read_all_stats'
    where not pg_has_role('pg_read_all_stats', 'usage')

    union all
    select
        'wraparound',
        facts.database::text,
        case
            when facts.transaction_age > 2 * freeze_max_age then 'problem'
            when facts.transaction_age > 0.75 * freeze_max_age then 'notice'
            else 'ok'
        end,
        format(
            '%s transactions are not frozen, and autovacuum freezes from %s on',
            facts.transaction_age, freeze_max_age
        ),
        case
            when facts.transaction_age > 0.75 * freeze_max_age then
                'vacuum (freeze) the tables of the highest age(relfrozenxid)'
        end
    from maintenance.database_facts as facts;
$function$;

revoke all on function maintenance.diagnose_server(interval, bigint) from public;

comment on function maintenance.diagnose_server(interval, bigint) is
    'Say what keeps vacuum from its work: settings, old transactions, wraparound, missing rights.';
