-- Names the archive of a table, within the 63 bytes that a name may have.

create or replace function maintenance.archive_name(source name)
returns name
language sql
immutable
set search_path = pg_catalog, pg_temp
as $function$
    select (cut.name || '_archive')::name
    from generate_series(length(source::text), 1, -1) as kept (length)
    cross join lateral left(source::text, kept.length) as cut (name)
    where octet_length(cut.name) <= 55
    limit 1;
$function$;

revoke all on function maintenance.archive_name(name) from public;

comment on function maintenance.archive_name(name) is
    'Return the name that the archive of a table of this name has unless it is given another.';
