-- Writes the VACUUM of a table, which no function can execute.
--
-- Where standbys follow, pages at the end of the table are kept: giving them back takes a lock that
-- is exclusive there as well.

create or replace function maintenance.vacuum_statement(relation regclass)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select format(
        'vacuum (%s) %s',
        concat_ws(
            ', ', 'analyze',
            case
                when exists (select from pg_catalog.pg_stat_replication) then 'truncate off'
            end
        ),
        vacuum_statement.relation
    );
$function$;

revoke all on function maintenance.vacuum_statement(regclass) from public;

comment on function maintenance.vacuum_statement(regclass) is 'Return the VACUUM of a table.';
