-- Remembers where this database is reached.
--
-- if_none is for those who happen to come by, as "runner migrate" does: the first one says where
-- the database is, and nobody else; and none does so in a copy, before it was adopted.

create or replace function maintenance.remember_endpoints(
    endpoints text[],
    if_none boolean default false
)
returns void
language plpgsql
security definer  -- nobody writes the table but this function, which asks who calls
set search_path = pg_catalog, pg_temp
as $function$
begin
    perform maintenance.assert_owner('maintenance'::regnamespace::oid);

    insert into maintenance.endpoint (endpoint, remembered_by)
    select distinct given.endpoint, maintenance.caller()
    from unnest(remember_endpoints.endpoints) as given (endpoint)
    where not remember_endpoints.if_none
       or (
           not exists (select from maintenance.endpoint)
           and (select identity.is_adopted from maintenance.identify() as identity)
       )
    on conflict (endpoint) do nothing;
end;
$function$;

revoke all on function maintenance.remember_endpoints(text[], boolean) from public;

comment on function maintenance.remember_endpoints(text[], boolean) is
    'Remember endpoints at which this database is reached; if_none: unless some are known.';
