-- Lists the operations of a schedule, in the order in which they run: its own, and those of every
-- shorter one.

create or replace function maintenance.bundled(schedule text)
returns text[]
language plpgsql
stable
security definer  -- operators need not be able to read the bundles
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_order constant text[] := array['hourly', 'daily', 'weekly', 'monthly'];
    v_place integer := array_position(v_order, bundled.schedule);
begin
    if v_place is null then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format('there is no bundle %s', coalesce(quote_literal(schedule), 'null')),
            hint = 'Choose hourly, daily, weekly or monthly.';
    end if;

    return array(
        select operation.name
        from maintenance.bundle as bundle
        join maintenance.operation as operation on operation.name = bundle.operation
        where array_position(v_order, bundle.schedule) <= v_place
        order by operation.position
    );
end;
$function$;

revoke all on function maintenance.bundled(text) from public;

comment on function maintenance.bundled(text) is
    'Return the operations that run hourly, daily, weekly or monthly, in order.';
