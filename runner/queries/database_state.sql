-- Everything that decides whether, and what, the runner may install here. Reads catalogs only.
select
    current_database() as database,
    current_user as role,
    current_setting('server_version_num')::integer as server_version,
    pg_is_in_recovery() as is_standby,
    to_regnamespace('maintenance') is not null as has_schema,
    obj_description(to_regnamespace('maintenance'), 'pg_namespace') as schema_comment,
    exists (  -- to_regclass would ask for the right to use the schema
        select
        from pg_class as class
        where class.relname = 'applied_script'
          and class.relnamespace = to_regnamespace('maintenance')
    ) as has_ledger,
    to_regnamespace('public') is not null as has_public,
    has_database_privilege(current_database(), 'create') as may_create_schema,
    coalesce(
        has_schema_privilege(to_regnamespace('public'), 'create'),
        false
    ) as may_create_in_public,
    coalesce(
        pg_has_role((
            select namespace.nspowner
            from pg_namespace as namespace
            where namespace.nspname = 'maintenance'
        ), 'usage'),
        true
    ) as owns_schema,
    coalesce(
        pg_has_role((
            select namespace.nspowner
            from pg_namespace as namespace
            where namespace.nspname = 'public'
        ), 'usage'),
        true
    ) as owns_public,
    array(
        select format('%I.%I', namespace.nspname, class.relname)
        from pg_class as class
        join pg_namespace as namespace on namespace.oid = class.relnamespace
        where class.relkind in ('r', 'p', 'v', 'm', 'f')
          and class.relpersistence <> 't'
          and namespace.nspname not in ('maintenance', 'information_schema')
          and namespace.nspname not like 'pg\_%'
          and not exists (
              select
              from pg_depend as dependency
              where dependency.classid = 'pg_class'::regclass
                and dependency.objid = class.oid
                and dependency.deptype = 'e'
          )
        order by 1
    ) as relations,
    exists (
        select
        from (
            select 'pg_class'::regclass, class.oid, class.relnamespace
            from pg_class as class
            where class.relpersistence <> 't'
            union all
            select 'pg_proc'::regclass, routine.oid, routine.pronamespace
            from pg_proc as routine
            union all
            select 'pg_type'::regclass, type.oid, type.typnamespace
            from pg_type as type
        ) as object (catalog, oid, namespace)
        join pg_namespace as namespace on namespace.oid = object.namespace
        where namespace.nspname not in ('maintenance', 'information_schema')
          and namespace.nspname not like 'pg\_%'
          and not exists (
              select
              from pg_depend as dependency
              where dependency.classid = object.catalog
                and dependency.objid = object.oid
                and dependency.deptype = 'e'
          )
    ) as has_own_objects
