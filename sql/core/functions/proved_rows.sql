-- Says how many rows a statement removed, if it proved that it did what it should.
--
-- An archive has to have as many rows more as the table has less, with every column of the table as
-- it is now: the statement is written again, under its own lock, and has to be the same. Rows that
-- were set must not be eligible any more, or the next batch would meet them again.

create or replace function maintenance.proved_rows(
    policy maintenance.policy,
    leaf regclass,
    bounds text[],
    scope text,
    branch integer,
    step bigint,
    statement text,
    answer jsonb
)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
begin
    if policy.action = 'delete' then
        return answer::bigint;
    end if;

    if policy.action = 'set' and answer ->> 'removed' is distinct from answer ->> 'proof' then
        raise exception using
            errcode = 'data_exception',
            message = format('%s of %s rows of %s are eligible still after they were set',
                (answer ->> 'removed')::bigint - (answer ->> 'proof')::bigint,
                answer ->> 'removed', leaf),
            hint = 'The assignments have to make the condition of the policy false.';
    end if;

    if policy.action = 'archive' then
        perform maintenance.prove_archived(
            source => policy.relation,
            archive => policy.archive_table,
            is_same => statement = maintenance.policy_statement(
                policy, 'remove', leaf, bounds, scope, branch, step => step
            ),
            answer => answer
        );
    end if;

    return (answer ->> 'removed')::bigint;
end;
$function$;

revoke all on function maintenance.proved_rows(
    maintenance.policy, regclass, text[], text, integer, bigint, text, jsonb
)
    from public;

comment on function maintenance.proved_rows(
    maintenance.policy, regclass, text[], text, integer, bigint, text, jsonb
) is
    'Return how many rows a statement removed, or raise an error if its proof fails.';
