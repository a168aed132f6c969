-- Of an object that is to be dropped and made again: the statement that drops it, the views that
-- have to go with it, and the statements that give it the rights that it has now.
with recursive target as (
    select object.oid, object.class, object.kind, object.name, object.acl, object.owner
    from (
        select
            class.oid,
            'pg_class'::regclass as class,
            case class.relkind when 'm' then 'materialized view' else 'view' end as kind,
            class.oid::regclass::text as name,
            class.relacl as acl,
            class.relowner as owner
        from pg_class as class
        where %(kind)s like '%%view'
          and class.oid = to_regclass(%(name)s)
          and class.relkind in ('v', 'm')
        union all
        select
            routine.oid,
            'pg_proc'::regclass,
            case routine.prokind when 'p' then 'procedure' else 'function' end,
            routine.oid::regprocedure::text,
            routine.proacl,
            routine.proowner
        from pg_proc as routine
        where %(kind)s in ('function', 'procedure')
          and routine.oid = to_regprocedure(%(name)s)
        union all
        select
            index.oid,
            'pg_class'::regclass,
            'index',
            index.oid::regclass::text,
            null,
            index.relowner
        from pg_class as index
        where %(kind)s = 'index'
          and index.oid = to_regclass(%(name)s)
          and index.relkind = 'i'
    ) as object
),

dependent (oid, depth) as (
    select rule.ev_class, 1
    from target
    join pg_depend as dependency
        on dependency.refclassid = target.class
        and dependency.refobjid = target.oid
        and dependency.classid = 'pg_rewrite'::regclass
    join pg_rewrite as rule on rule.oid = dependency.objid
    where rule.ev_class <> target.oid
    union
    select rule.ev_class, dependent.depth + 1
    from dependent
    join pg_depend as dependency
        on dependency.refclassid = 'pg_class'::regclass
        and dependency.refobjid = dependent.oid
        and dependency.classid = 'pg_rewrite'::regclass
    join pg_rewrite as rule on rule.oid = dependency.objid
    where rule.ev_class <> dependent.oid
)

select
    format('drop %%s %%s', target.kind, target.name) as drop_statement,
    array(
        select dependent.oid::regclass::text
        from dependent
        group by dependent.oid
        order by max(dependent.depth) desc, 1
    ) as dependents,
    array(
        select format(
            'grant %%s on %%s %%s to %%s%%s',
            lower(granted.privilege_type),
            case when target.class = 'pg_class'::regclass then 'table' else 'routine' end,
            target.name,
            case
                when granted.grantee = 0 then 'public'
                else quote_ident(pg_get_userbyid(granted.grantee))
            end,
            case when granted.is_grantable then ' with grant option' else '' end
        )
        from aclexplode(target.acl) as granted
        where granted.grantee <> target.owner
    ) as grants
from target
