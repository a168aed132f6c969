-- Removes the eligible rows of a range: all of them at once, or else those that nobody holds.
--
-- The plain statement is the fast one. Where it meets a lock that is not free within 20 ms, it is
-- undone, and the rows that are free are locked first and then removed; so are they where rows of
-- other tables go along, since the statistics count what is undone, where dependents cannot go in
-- the same statement (joint_statement), where a view or another table decides, and where a trigger
-- might keep a row. Between the two statements the row cannot change, and the second sees what was
-- committed before the lock.
--
-- A range of many blocks, in which few rows went so far, may turn out to be full of them: then no
-- more than one above a batch are deleted before that is seen.
--
-- outcome: done; full: there may be more rows than size in the range; overflow: there were, and
-- nothing was removed; locked: not even the table could be locked.

create or replace function maintenance.remove_range(
    policy maintenance.policy,
    leaf regclass,
    branch integer,
    low text,
    high text,
    bounds text[],
    size bigint,
    is_gentle boolean,
    step bigint,
    out outcome text,
    out removed bigint,
    out dependents bigint,
    out left_over bigint,
    out holders jsonb
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    c_dense constant integer := 5;  -- batches in a range, if all of its rows go
    v_scope text := maintenance.range_scope(policy, branch, low, high);
    v_plain text := v_scope;
    v_has_dependents boolean := jsonb_array_length(policy.dependents) > 0;
    v_statement text;
    v_answer jsonb;
    v_taken tid[];
    v_dependent jsonb;
begin
    dependents := 0;
    left_over := 0;
    holders := '[]';

    if branch = 0 and (
        select (high::bigint - low::bigint) > c_dense * size * class.relpages / class.reltuples
        from pg_catalog.pg_class as class
        where class.oid = remove_range.leaf
          and class.reltuples > 0
    ) then
        v_plain := format(
            'target.ctid = any (array(%s))',
            maintenance.policy_statement(policy, 'first', leaf, bounds, v_scope, branch)
        );
    end if;

    if not (
        is_gentle
        or policy.selector is not null
        or maintenance.reads_other_tables(policy)
        or policy.allow_cascade
        or exists (
            select
            from pg_catalog.pg_trigger as trigger
            where trigger.tgrelid = remove_range.leaf
              and not trigger.tgisinternal
              and trigger.tgtype & 1 <> 0  -- per row
              and trigger.tgtype & 2 <> 0  -- before
              and trigger.tgtype & case policy.action when 'set' then 16 else 8 end <> 0
        )
    ) then
        v_statement := case
            when v_has_dependents then
                maintenance.joint_statement(policy, leaf, bounds, v_plain, branch)
            else
                maintenance.policy_statement(
                    policy, 'remove', leaf, bounds, v_plain, branch, step => step
                )
        end;
    end if;

    if v_statement is not null then
        begin
            v_answer := maintenance.run_as_owner(
                policy.relation, v_statement, size => size + 1,
                answers => policy.action <> 'delete' or v_has_dependents
            );

            if v_has_dependents then
                removed := (v_answer ->> 'removed')::bigint;
                dependents := (v_answer ->> 'dependents')::bigint;
            else
                removed := maintenance.proved_rows(
                    policy, leaf, bounds, v_plain, branch, step, v_statement, v_answer
                );
            end if;

            if removed > size then
                raise exception using errcode = 'program_limit_exceeded';
            end if;

            outcome := 'done';
            return;
        exception
            when program_limit_exceeded then
                outcome := 'overflow';
                dependents := 0;
                return;
            when lock_not_available or deadlock_detected then
                null;  -- goes on with those that are free
            when foreign_key_violation or restrict_violation then
                if not v_has_dependents then
                    raise;
                end if;  -- else a dependent may have come too late to be seen
        end;
    end if;

    begin
        select array_agg(taken.value::tid)
        into v_taken
        from jsonb_array_elements_text(
            maintenance.run_as_owner(
                policy.relation,
                maintenance.policy_statement(policy, 'take', leaf, bounds, v_scope, branch),
                size
            )
        ) as taken;

        for v_dependent in
            select dependent.value
            from jsonb_array_elements(policy.dependents) with ordinality as dependent
            where v_taken is not null
            order by dependent.ordinality
        loop
            v_statement := maintenance.dependent_statement(v_dependent, leaf, step);
            v_answer := maintenance.run_as_owner(
                policy.relation,
                v_statement,
                taken => v_taken,
                answers => v_dependent ? 'archive_table'
            );

            if v_dependent ? 'archive_table' then
                perform maintenance.prove_archived(
                    source => (v_dependent ->> 'relation')::regclass,
                    archive => (v_dependent ->> 'archive_table')::regclass,
                    is_same => v_statement = maintenance.dependent_statement(
                        v_dependent, leaf, step
                    ),
                    answer => v_answer
                );
                v_answer := v_answer -> 'removed';
            end if;

            dependents := dependents + v_answer::bigint;
        end loop;

        removed := 0;

        if v_taken is not null then
            v_statement := maintenance.policy_statement(
                policy, 'remove', leaf, bounds, 'target.ctid = any ($2)', branch, step => step
            );
            v_answer := maintenance.run_as_owner(
                policy.relation, v_statement, taken => v_taken,
                answers => policy.action <> 'delete'
            );
            removed := maintenance.proved_rows(
                policy, leaf, bounds, 'target.ctid = any ($2)', branch, step, v_statement,
                v_answer
            );

            -- A view, or a condition that asks another table, may think otherwise by now. But then
            -- no row of a dependent may have gone: the range is undone, and tried again later.
            if removed <> cardinality(v_taken) then
                v_answer := maintenance.run_as_owner(
                    policy.relation,
                    maintenance.policy_statement(
                        policy, 'left', leaf, bounds, 'target.ctid = any ($2)', branch
                    ),
                    taken => v_taken
                );

                if (v_answer ->> 'left')::bigint > 0 then
                    raise exception using
                        errcode = 'triggered_action_exception',
                        message = format(
                            '%s of %s rows of %s stayed, though nobody held them',
                            v_answer ->> 'left', cardinality(v_taken), leaf
                        ),
                        detail = 'A trigger keeps them.',
                        hint = 'Exempt them with a condition, or take the trigger away.';
                elsif dependents > 0 then
                    raise exception using errcode = 'lock_not_available';
                end if;
            end if;
        end if;

        if cardinality(v_taken) >= size then
            outcome := 'full';
            return;
        end if;

        v_answer := maintenance.run_as_owner(
            policy.relation,
            maintenance.policy_statement(policy, 'left', leaf, bounds, v_scope, branch)
        );
        left_over := (v_answer ->> 'left')::bigint;
        holders := v_answer -> 'holders';
        outcome := 'done';
    exception
        when lock_not_available or deadlock_detected then
            outcome := 'locked';
            removed := 0;
            dependents := 0;
            left_over := 1;
            holders := (
                select coalesce(jsonb_agg(distinct held.virtualtransaction), '[]')
                from pg_catalog.pg_locks as held
                where held.relation = remove_range.leaf
                  and held.database = (
                      select database.oid
                      from pg_catalog.pg_database as database
                      where database.datname = current_database()
                  )
                  and held.granted
                  and held.pid <> pg_backend_pid()
                  and held.mode in (
                      'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'
                  )
            );
    end;
end;
$function$;

revoke all on function maintenance.remove_range(
    maintenance.policy, regclass, integer, text, text, text[], bigint, boolean, bigint
)
    from public;

comment on function maintenance.remove_range(
    maintenance.policy, regclass, integer, text, text, text[], bigint, boolean, bigint
) is
    'Remove the eligible rows of a range of a table, but for those that others hold.';
