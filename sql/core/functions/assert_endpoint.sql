-- Refuses to act where the database is reached as it never was before.
--
-- A physical copy, such as a branch on a managed host, has the identity of the original, so that
-- assert_adopted sees nothing; only the address tells them apart. Where no address is known, which
-- is so until the runner has said one, none is asked for.

create or replace function maintenance.assert_endpoint(endpoint text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_known text;
begin
    select string_agg(known.endpoint, ', ' order by known.endpoint)
    into v_known
    from maintenance.endpoint as known
    having bool_and(known.endpoint is distinct from assert_endpoint.endpoint);

    if v_known is not null then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format(
                'database %I was never reached at %s before', current_database(),
                coalesce(assert_endpoint.endpoint, 'null')
            ),
            detail = format('It is known at %s: this may be a copy of it.', v_known),
            hint = '`runner adopt-clone` if rows shall be removed in this copy as well; '
                '`runner adopt-clone --alias` if it is the same database under another name.';
    end if;
end;
$function$;

revoke all on function maintenance.assert_endpoint(text) from public;

comment on function maintenance.assert_endpoint(text) is
    'Raise an error unless the database is known at an endpoint, or no endpoint is known at all.';
