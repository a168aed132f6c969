-- Lists the policies of some operations that are switched on, in the order in which they run.
--
-- An operation that only policies know runs after those that remove rows, and before the rest.

create or replace function maintenance.policies_of(operations text[])
returns text[]
language plpgsql
stable
security definer  -- operators need not be able to read the policies
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_unknown text;
begin
    select string_agg(coalesce(quote_literal(asked.operation), 'null'), ', ')
    into v_unknown
    from unnest(operations) as asked (operation)
    where not exists (
        select
        from maintenance.policy as known
        where asked.operation in (known.operation, known.name)
    );

    if v_unknown is not null then
        raise exception using
            errcode = 'undefined_object',
            message = format('there is no operation or policy %s', v_unknown),
            hint = 'maintenance.policy lists both: see its columns operation and name.';
    end if;

    return array(
        select known.name
        from maintenance.policy as known
        left join maintenance.operation as operation on operation.name = known.operation
        where known.is_enabled
          and (operations is null or array[known.operation, known.name] && operations)
        order by coalesce(operation.position, 100), known.priority, known.name
    );
end;
$function$;

revoke all on function maintenance.policies_of(text[]) from public;

comment on function maintenance.policies_of(text[]) is
    'Return the names of the enabled policies of operations, in order; null: of all.';
