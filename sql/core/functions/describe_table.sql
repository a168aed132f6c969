-- Says what a table is for, if a script of ours created it. What was found stays as it is.

create or replace function maintenance.describe_table(relation text, comment text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_relation regclass := to_regclass(describe_table.relation);
begin
    if maintenance.is_created(kind => 'table', name => relation) then
        execute format('comment on table %s is %L', v_relation, describe_table.comment);
    end if;
end;
$function$;

revoke all on function maintenance.describe_table(text, text) from public;

comment on function maintenance.describe_table(text, text) is
    'Comment on a table that a script created; one that was found keeps its own comment.';
