-- Runs a statement of a policy with the rights of the table's owner.
--
-- $1 in it is a number of rows, $2 are rows that were locked before.
-- A statement either answers with one jsonb, or the answer is how many rows it touched.

create or replace function maintenance.run_as_owner(
    relation regclass,
    statement text,
    size bigint default null,
    taken tid[] default null,
    answers boolean default true
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_owner name;
    v_executor regprocedure;
    v_answer jsonb;
begin
    select pg_get_userbyid(class.relowner)
    into v_owner
    from pg_catalog.pg_class as class
    where class.oid = run_as_owner.relation;

    v_executor := to_regprocedure(
        format(
            'maintenance.%I(text, bigint, tid[], boolean)',
            maintenance.executor_of(v_owner)
        )
    );

    if not maintenance.is_intact(v_executor, v_owner) then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format('%s cannot be tended with the rights of its owner', relation),
            detail = format('There is no intact function maintenance.%I.',
                maintenance.executor_of(v_owner)),
            hint = 'The table changed hands, or somebody altered the function. '
                'select maintenance.alter_policy(policy, ''{}'') makes it anew, and in a copy '
                'maintenance.adopt_clone().';
    end if;

    execute format(
        'select %s($1, $2, $3, $4)',
        v_executor::regproc
    )
    into v_answer
    using run_as_owner.statement, run_as_owner.size, run_as_owner.taken, run_as_owner.answers;
    return v_answer;
end;
$function$;

revoke all on function maintenance.run_as_owner(regclass, text, bigint, tid[], boolean)
    from public;

comment on function maintenance.run_as_owner(regclass, text, bigint, tid[], boolean) is
    'Run a statement of a policy as the owner of the table, and return its answer.';
