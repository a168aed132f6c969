-- Who owns the tables that are tended, and whether runs can act for them.
--
-- Before PostgreSQL 16 whoever is a member of a role may SET ROLE to it.

create or replace view maintenance.table_owners
with (security_invoker = true)
as
select
    owned.owner,
    owned.policies,
    pg_has_role(owned.master, owned.owner, 'usage') as is_inherited,
    pg_has_role(owned.master, owned.owner, how.to_set_role) as may_be_set,
    maintenance.is_intact(
        to_regprocedure(
            format(
                'maintenance.%I(text, bigint, tid[], boolean)', maintenance.executor_of(owned.owner)
            )
        ),
        owned.owner
    ) as is_executor_intact,
    pg_has_role(owned.owner, 'usage') as you_inherit,
    pg_has_role(owned.owner, how.to_set_role) as you_may_set
from (
    select
        pg_get_userbyid(class.relowner),
        (
            select namespace.nspowner
            from pg_catalog.pg_namespace as namespace
            where namespace.nspname = 'maintenance'
        ),
        array_agg(policy.name order by policy.name)
    from maintenance.policy
    join pg_catalog.pg_class as class on class.oid = policy.relation
    group by class.relowner
) as owned (owner, master, policies)
cross join lateral (
    select case
        when current_setting('server_version_num')::integer >= 160000 then 'set'
        else 'member'
    end
) as how (to_set_role)
order by owned.owner;

revoke all on table maintenance.table_owners from public;

comment on view maintenance.table_owners is
    'Owners of the tables that policies tend, and whether housekeeping can act for them.';
comment on column maintenance.table_owners.owner is 'The role.';
comment on column maintenance.table_owners.policies is 'Policies about its tables.';
comment on column maintenance.table_owners.is_inherited is
    'Whether the owner of schema maintenance has its rights.';
comment on column maintenance.table_owners.may_be_set is
    'Whether the owner of schema maintenance may SET ROLE to it.';
comment on column maintenance.table_owners.is_executor_intact is
    'Whether the function that acts for it is as it was made.';
comment on column maintenance.table_owners.you_inherit is 'Whether you have its rights.';
comment on column maintenance.table_owners.you_may_set is 'Whether you may SET ROLE to it.';
