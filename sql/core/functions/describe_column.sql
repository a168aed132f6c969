-- Says what a column is for, if a script of ours created its table. What was found stays as it is.

create or replace function maintenance.describe_column(relation text, name name, comment text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_relation regclass := to_regclass(describe_column.relation);
begin
    if maintenance.is_created(kind => 'table', name => relation) then
        execute format(
            'comment on column %s.%I is %L',
            v_relation, describe_column.name, describe_column.comment
        );
    end if;
end;
$function$;

revoke all on function maintenance.describe_column(text, name, text) from public;

comment on function maintenance.describe_column(text, name, text) is
    'Comment on a column of a table that a script created.';
