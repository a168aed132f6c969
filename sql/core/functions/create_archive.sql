-- Makes a table that policies can archive the rows of another into, and names it.
--
-- It has the columns of its table, plain: what is generated or numbered there is kept as it was.
-- _archived_by_step is the step, in maintenance.run_step, that moved a row: undoing a run goes by
-- it, and retention by _archived_at. It has no index, which would cost every batch more than
-- undoing one of them gains.

create or replace function maintenance.create_archive(
    source regclass,
    archive text default null
)
returns regclass
language plpgsql
security definer  -- nobody writes the list of archives but functions that ask who calls
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_table record;
    v_name text[];
    v_archive text;
    v_created regclass;
begin
    perform maintenance.assert_owner(create_archive.source);

    select class.relname, class.relkind, class.relpersistence, namespace.nspname,
        pg_get_userbyid(class.relowner) as owner
    into strict v_table
    from pg_catalog.pg_class as class
    join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
    where class.oid = create_archive.source;

    if v_table.relkind not in ('r', 'p')
       or v_table.relpersistence = 't'
       or v_table.nspname in ('maintenance', 'pg_catalog', 'information_schema')
    then
        raise exception using
            errcode = 'wrong_object_type',
            message = format('%s is not a table of an application', source),
            hint = 'Name a table that exists, and whose rows a policy shall archive.';
    end if;

    if not exists (select from maintenance.column_definitions(source)) then
        raise exception using
            errcode = 'invalid_table_definition',
            message = format('%s has no columns', source),
            hint = 'There is nothing in it to archive.';
    end if;

    if maintenance.column_type(source, '_archived_at') is not null
       or maintenance.column_type(source, '_archived_by_step') is not null
    then
        raise exception using
            errcode = 'duplicate_column',
            message = format('%s has a column _archived_at or _archived_by_step itself', source),
            hint = 'If it is an archive, move what is old in it into files: '
                '"runner archive export --help".';
    end if;

    begin
        v_name := coalesce(
            parse_ident(create_archive.archive),
            array[v_table.nspname::text, maintenance.archive_name(v_table.relname)]
        );
    exception
        when invalid_parameter_value then
            null;  -- as with one that has three parts
    end;

    if cardinality(v_name) = 1 then
        v_name := array[v_table.nspname::text] || v_name;
    end if;

    if cardinality(v_name) = 2 and v_name[1] <> 'maintenance' then
        v_archive := format('%I.%I', v_name[1], v_name[2]);
    end if;

    if v_archive is null then
        raise exception using
            errcode = 'invalid_name',
            message = format('%L is no name for an archive', create_archive.archive),
            hint = 'Name it as in SQL: schema.table; names with capitals in double quotes.';
    elsif to_regnamespace(quote_ident(v_name[1])) is null then
        raise exception using
            errcode = 'invalid_schema_name',
            message = format('there is no schema %I', v_name[1]),
            hint = format('create schema %I authorization %I', v_name[1], v_table.owner);
    elsif to_regclass(v_archive) is not null then
        raise exception using
            errcode = 'duplicate_table',
            message = format('there is a table %s already', v_archive),
            hint = 'A policy can have it as its archive_table if its columns fit.';
    end if;

    perform maintenance.install_executor(v_table.owner);
    perform maintenance.run_as_owner(source, command.text, answers => false)
    from (
        select 1, format(
            'create table %s (%s, _archived_at timestamptz, _archived_by_step bigint)',
            v_archive,
            string_agg(written.definition, ', ' order by written.place)
        )
        from maintenance.column_definitions(source)
            with ordinality as written (name, definition, place)
        union all
        select 2, format('comment on table %s is %L', v_archive, format('Archive of %s.', source))
        union all
        select 3, format(
            'comment on column %s._archived_at is %L', v_archive,
            'When the row was moved here.'
        )
        union all
        select 4, format(
            'comment on column %s._archived_by_step is %L', v_archive,
            'Step in maintenance.run_step that moved it; null: it belongs to no run.'
        )
        order by 1
    ) as command (place, text);

    v_created := to_regclass(v_archive);

    delete from maintenance.archive as stale
    where not exists (
        select from pg_catalog.pg_class as class where class.oid = stale.relation
    );

    insert into maintenance.archive (relation, source, columns, is_ours)
    values (v_created, create_archive.source, maintenance.archived_columns(source), true);

    return v_created;
end;
$function$;

revoke all on function maintenance.create_archive(regclass, text) from public;

comment on function maintenance.create_archive(regclass, text) is
    'Make a table to archive the rows of another in; without a name, it is called <table>_archive.';
