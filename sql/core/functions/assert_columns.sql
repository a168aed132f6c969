-- Refuses a table that lacks columns which are needed, or has them with another type.
--
-- Each column is written as in CREATE TABLE, name and type. Other columns, defaults, NOT NULL and
-- the length of a type are the application's own business.

create or replace function maintenance.assert_columns(relation regclass, needs text[])
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_faults text[];
begin
    select array_agg(
        case
            when found.attname is null then
                format('%s has no column %s', assert_columns.relation, needed.name)
            else
                format(
                    'column %s.%s is %s, and %s is needed',
                    assert_columns.relation,
                    found.attname,
                    format_type(found.atttypid, null),
                    needed.type
                )
        end
        order by needed.position
    )
    into v_faults
    from (
        select
            column_of.position,
            split_part(column_of.text, ' ', 1) as name,
            substr(column_of.text, strpos(column_of.text, ' ') + 1)::regtype as type
        from unnest(needs) with ordinality as column_of (text, position)
    ) as needed
    left join pg_catalog.pg_attribute as found
        on found.attrelid = assert_columns.relation
        and found.attname = needed.name
        and found.attnum > 0
        and not found.attisdropped
    where found.atttypid is distinct from needed.type;

    if v_faults is not null then
        raise exception using
            errcode = 'datatype_mismatch',
            message = v_faults[1],
            detail = array_to_string(
                v_faults[2:] || format('Needed are %s.', array_to_string(needs, ', ')), E'\n'
            ),
            hint = 'A table that is there is used as it is, and never altered: change it, or tend '
                'it by policies of your own.';
    end if;
end;
$function$;

revoke all on function maintenance.assert_columns(regclass, text[]) from public;

comment on function maintenance.assert_columns(regclass, text[]) is
    'Raise an error unless a table has the columns, with the types that are given beside them.';
