-- Says whether the owner of schema maintenance can act for the owners of the tables it tends.

create or replace function maintenance.diagnose_rights()
returns table (subject text, name text, state text, message text, remedy text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select
        'rights',
        owner.owner::text,
        case when found.message is null then 'ok' else 'problem' end,
        coalesce(
            found.message,
            format('policies can act for it: %s', array_to_string(owner.policies, ', '))
        ),
        found.remedy
    from maintenance.table_owners as owner
    cross join (
        select pg_get_userbyid(namespace.nspowner)
        from pg_catalog.pg_namespace as namespace
        where namespace.nspname = 'maintenance'
    ) as master (name)
    cross join lateral (
        select format('grant %I to %I', owner.owner, master.name) || case
            when current_setting('server_version_num')::integer >= 160000 then
                ' with inherit true, set true'
            else ''
        end
    ) as granting (statement)
    left join lateral (
        select
            format('%I does not inherit the rights of %I', master.name, owner.owner),
            granting.statement
        where not owner.is_inherited
        union all
        select
            format('%I may not SET ROLE to %I', master.name, owner.owner),
            granting.statement
        where owner.is_inherited
          and not owner.may_be_set
        union all
        select
            format(
                'function maintenance.%I was altered, or is gone: no policy runs on its tables',
                maintenance.executor_of(owner.owner)
            ),
            format('select * from maintenance.alter_policy(%L, ''{}'')', owner.policies[1])
        where not owner.is_executor_intact
    ) as found (message, remedy) on true
    order by owner.owner, found.message;
$function$;

revoke all on function maintenance.diagnose_rights() from public;

comment on function maintenance.diagnose_rights() is
    'Say whether policies can act with the rights of the owners of their tables.';
