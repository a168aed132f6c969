-- Says which operations run how often. Each operation is in one bundle: what runs every hour runs
-- in the daily, weekly and monthly bundles as well.

create or replace function maintenance.set_bundle(schedule text, operations text[])
returns void
language plpgsql
security definer  -- nobody writes the bundles but functions that ask who calls
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_unknown text;
begin
    perform maintenance.assert_owner('maintenance'::regnamespace);

    select string_agg(coalesce(quote_literal(named.operation), 'null'), ', ')
    into v_unknown
    from unnest(operations) as named (operation)
    where not exists (
        select
        from maintenance.operation as known
        where known.name = named.operation
    );

    if v_unknown is not null or operations is null then
        raise exception using
            errcode = 'undefined_object',
            message = format('there is no operation %s', coalesce(v_unknown, 'null')),
            hint = 'maintenance.operation lists them.';
    end if;

    if schedule is null or schedule not in ('hourly', 'daily', 'weekly', 'monthly') then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format('there is no bundle %s', coalesce(quote_literal(schedule), 'null')),
            hint = 'Choose hourly, daily, weekly or monthly.';
    end if;

    delete from maintenance.bundle as bundle
    where bundle.schedule = set_bundle.schedule
       or bundle.operation = any (operations);

    insert into maintenance.bundle (schedule, operation)
    select distinct set_bundle.schedule, named.operation
    from unnest(operations) as named (operation);
end;
$function$;

revoke all on function maintenance.set_bundle(text, text[]) from public;

comment on function maintenance.set_bundle(text, text[]) is
    'Say which operations run hourly, daily, weekly or monthly; an operation has one place.';
