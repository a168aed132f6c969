-- Refuses to act where a policy must not: in a copy, paused, switched off, too early, at another
-- level.

create or replace function maintenance.assert_may_run(
    policy maintenance.policy,
    moment timestamptz
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
begin
    perform maintenance.assert_adopted();

    if maintenance.pause_reason() is not null then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format('housekeeping is %s', maintenance.pause_reason()),
            hint = 'select maintenance.resume_runs() ends the pause.';
    end if;

    if not policy.is_enabled then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format('policy %s is switched off', policy.name),
            hint = format('select maintenance.enable_policy(%L)', policy.name);
    end if;

    if moment > clock_timestamp() then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format('moment must be in the past, not %s', moment),
            detail = 'A row that has yet to expire is still of use.';
    end if;

    perform maintenance.assert_read_committed();
end;
$function$;

revoke all on function maintenance.assert_may_run(maintenance.policy, timestamptz) from public;

comment on function maintenance.assert_may_run(maintenance.policy, timestamptz) is
    'Raise an error unless a policy may remove rows now.';
