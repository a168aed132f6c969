-- Adds a column to a table that a script of ours created. Of a table that was found none is added:
-- adopt_table has asked for those that are needed.

create or replace function maintenance.add_column(
    chain text,
    relation text,
    name name,
    definition text,
    comment text
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_relation regclass := to_regclass(add_column.relation);
begin
    if not maintenance.is_created(kind => 'table', name => relation) then
        return;
    end if;

    insert into maintenance.owned_object (chain, kind, name, origin)
    values (
        add_column.chain, 'column', format('%s.%I', add_column.relation, add_column.name), 'created'
    );

    execute format(
        'alter table %s add column %I %s', v_relation, add_column.name, definition
    );
    execute format(
        'comment on column %s.%I is %L',
        v_relation, add_column.name, add_column.comment
    );
end;
$function$;

revoke all on function maintenance.add_column(text, text, name, text, text) from public;

comment on function maintenance.add_column(text, text, name, text, text) is
    'Add a column to a table that a script created; a table that was found stays as it is.';
