-- Writes the VACUUM of a table, which no function can execute.
--
-- Where standbys follow, pages at the end of the table are kept: giving them back takes a lock that
-- is exclusive there as well.
--
-- The table comes as a qualified and quoted name, which needs no right to use its schema.

create or replace function maintenance.vacuum_statement(
    object text,
    freeze boolean default false
)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select format(
        'vacuum (%s) %s',
        concat_ws(
            ', ',
            case when vacuum_statement.freeze then 'freeze' end,
            'analyze',
            case
                when exists (select from pg_catalog.pg_stat_replication)
                    or exists (  -- of a standby that is away for a while
                        select
                        from pg_catalog.pg_replication_slots as slot
                        where slot.slot_type = 'physical'
                    )
                then 'truncate off'
            end
        ),
        vacuum_statement.object
    );
$function$;

revoke all on function maintenance.vacuum_statement(text, boolean) from public;

comment on function maintenance.vacuum_statement(text, boolean) is
    'Return the VACUUM of a table.';
