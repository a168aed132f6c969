-- Who may do what with housekeeping.
--
-- lacks is what a role would be granted today and was not: an upgrade may bring more, and granting
-- once more gives it. Without pg_read_all_stats, which is a part of pg_monitor, a role does not see
-- what sessions of other roles do.

create or replace view maintenance.access
with (security_invoker = true)
as
select
    held.role,
    held.access,
    array(
        select listed.name
        from maintenance.access_rights() as listed
        where not listed.name = any (held.names)
          and held.access in ('operator', listed.access)
        order by listed.name
    ) as lacks,
    case
        when held.grantee <> 0 then pg_has_role(held.grantee, 'pg_read_all_stats', 'usage')
    end as sees_statistics
from (
    select
        granted.grantee,
        case
            when granted.grantee = 0 then 'public'::name
            else pg_get_userbyid(granted.grantee)
        end as role,
        -- Usage of the schema alone makes nobody a monitor: owners of tables have it as well.
        case when bool_or(listed.access = 'operator') then 'operator' else 'monitor' end as access,
        array_agg(listed.name) as names
    from maintenance.access_rights() as listed
    cross join lateral (
        select namespace.nspacl, namespace.nspowner
        from pg_catalog.pg_namespace as namespace
        where listed.kind = 'schema'
          and namespace.oid = listed.object
        union all
        select class.relacl, class.relowner
        from pg_catalog.pg_class as class
        where listed.kind = 'table'
          and class.oid = listed.object
        union all
        select routine.proacl, routine.proowner
        from pg_catalog.pg_proc as routine
        where listed.kind = 'routine'
          and routine.oid = listed.object
    ) as guarded (acl, owner)
    cross join lateral aclexplode(guarded.acl) as granted
    where granted.grantee <> guarded.owner
      and lower(granted.privilege_type) = listed.privilege
    group by granted.grantee
    having bool_or(listed.kind <> 'schema')
    union all
    select
        namespace.nspowner,
        pg_get_userbyid(namespace.nspowner),
        'owner' as access,
        '{}' as names
    from pg_catalog.pg_namespace as namespace
    where namespace.nspname = 'maintenance'
) as held
order by held.access = 'owner' desc, held.access desc, held.role;

revoke all on table maintenance.access from public;

comment on view maintenance.access is
    'Roles that own, run or watch housekeeping, and what they lack.';
comment on column maintenance.access.role is 'The role; public: everybody.';
comment on column maintenance.access.access is 'owner, operator or monitor.';
comment on column maintenance.access.lacks is
    'What grant_operator or grant_monitor would add to what it has.';
comment on column maintenance.access.sees_statistics is
    'Whether it sees what sessions of other roles do, as a member of pg_read_all_stats.';
