-- Returns the row of a policy, or says that there is none.

create or replace function maintenance.read_policy(policy text)
returns maintenance.policy
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_policy maintenance.policy;
begin
    select known.*
    into v_policy
    from maintenance.policy as known
    where known.name = read_policy.policy;

    if not found then
        raise exception using
            errcode = 'undefined_object',
            message = format('there is no policy %s', coalesce(quote_literal(policy), 'null')),
            hint = 'The policies are the rows of maintenance.policy.';
    end if;

    return v_policy;
end;
$function$;

revoke all on function maintenance.read_policy(text) from public;

comment on function maintenance.read_policy(text) is 'Return a policy by its name.';
