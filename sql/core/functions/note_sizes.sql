-- Notes the size of each table, once a day: the first call of a day, in UTC, counts. What is older
-- than 400 days goes.

create or replace function maintenance.note_sizes(moment timestamptz default now())
returns integer
language plpgsql
security definer  -- nobody writes the history but this
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_day constant date := (note_sizes.moment at time zone 'UTC')::date;
    v_noted integer;
begin
    insert into maintenance.size_history (day, schema_name, table_name, total_bytes, estimated_rows)
    select v_day, sizes.schema_name, sizes.table_name, sizes.total_bytes, sizes.estimated_rows
    from maintenance.table_sizes as sizes
    on conflict on constraint size_history_pkey do nothing;

    get diagnostics v_noted = row_count;

    delete from maintenance.size_history as noted
    where noted.day < v_day - 400;

    return v_noted;
end;
$function$;

revoke all on function maintenance.note_sizes(timestamptz) from public;

comment on function maintenance.note_sizes(timestamptz) is
    'Note the size of each table for the day, if that was not done; return how many were noted.';
