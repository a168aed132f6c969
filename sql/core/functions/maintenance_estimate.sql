-- Estimates how long an operation takes: by the median of its last five steps that came to an end,
-- if our log has any; else by a rule of thumb, base + per GB + per active connection.

create or replace function maintenance.maintenance_estimate(operation text)
returns table (seconds double precision, is_measured boolean, explanation text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
declare
    v_runs bigint;
    v_rule record;
    v_gigabytes double precision;
    v_active bigint;
begin
    select count(*), percentile_cont(0.5) within group (order by taken.seconds)
    into v_runs, seconds
    from (
        select extract(epoch from max(entry.ended_at) - min(entry.started_at))
        from (
            select step.run, step.started_at, step.ended_at, step.exit_reason
            from maintenance.run_step as step
            where step.operation = operation
            union all
            select task.run, task.started_at, task.ended_at, task.exit_reason
            from maintenance.run_task as task
            where task.operation = operation
        ) as entry
        group by entry.run
        having bool_and(entry.exit_reason in ('exhausted', 'nothing_to_do'))
        order by max(entry.ended_at) desc
        limit 5
    ) as taken (seconds);

    if v_runs > 0 then
        is_measured := true;
        explanation := format('the median of the last %s runs', v_runs);
        return next;
        return;
    end if;

    select rule.*
    into v_rule
    from (
        values
            ('vacuum', 60, 300, 10),
            ('reindex', 30, 150, 5),
            ('analyze', 30, 100, 2)
    ) as rule (operation, base, per_gigabyte, per_connection)
    where rule.operation = operation;

    if v_rule.operation is null then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format('there is no estimate for operation %L', operation),
            detail = 'It has never run here, and there is no rule for it.',
            hint = 'There are rules for vacuum, reindex and analyze.';
    end if;

    v_gigabytes := pg_database_size(current_database()) / 1073741824::double precision;
    select count(*)
    into v_active
    from pg_catalog.pg_stat_activity as activity
    where activity.datname = current_database()
      and activity.state = 'active'
      and activity.pid <> pg_backend_pid();

    seconds := v_rule.base + v_rule.per_gigabyte * v_gigabytes + v_rule.per_connection * v_active;
    is_measured := false;
    explanation := format(
        'a rule of thumb, it has never run here: %s s + %s s for each of %s GB + %s s for each of '
        '%s active connections%s',
        v_rule.base, v_rule.per_gigabyte, round(v_gigabytes::numeric, 2), v_rule.per_connection,
        v_active,
        case
            when not pg_has_role('pg_read_all_stats', 'usage')
                then ' of yours; to see the others needs pg_read_all_stats'
            else ''
        end
    );
    return next;
end;
$function$;

revoke all on function maintenance.maintenance_estimate(text) from public;

comment on function maintenance.maintenance_estimate(text) is
    'Estimate how long vacuum, reindex or analyze takes, and say whether that was measured.';
