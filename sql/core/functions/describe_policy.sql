-- Says as one document all that is known of a policy without looking at the rows of its table: what
-- is set, what was registered, who changed what, how it stands, who tends it now, and its risks.

create or replace function maintenance.describe_policy(policy text)
returns jsonb
language plpgsql
security definer  -- who may only look needs no right on what the risks are read from
set search_path = pg_catalog, pg_temp
as $function$
declare
    c_changes constant integer := 10;
    c_not_settings constant text[] := array[
        'name', 'relation', 'chain', 'shipped', 'version', 'changed_at', 'changed_by'
    ];
    v_policy maintenance.policy := maintenance.read_policy(describe_policy.policy);
begin
    return jsonb_build_object(
        'policy', v_policy.name,
        'relation', v_policy.relation,
        'chain', v_policy.chain,
        'version', v_policy.version,
        'changed_at', v_policy.changed_at,
        'changed_by', v_policy.changed_by,
        'settings', to_jsonb(v_policy) - c_not_settings,
        'shipped', v_policy.shipped,
        'overrides', coalesce(
            (
                select kept.changes
                from maintenance.policy_override as kept
                where kept.policy = v_policy.name
            ),
            '{}'
        ),
        'status', (
            select to_jsonb(status)
            from maintenance.policy_status as status
            where status.policy = v_policy.name
        ),
        'lease', (
            select jsonb_build_object(
                'step', lease.step,
                'pid', lease.owner_pid,
                'started_at', step.started_at,
                'is_alive', maintenance.is_alive(
                    lease.owner_pid, lease.owner_start, step.heartbeat_at
                )
            )
            from maintenance.lease as lease
            join maintenance.run_step as step on step.id = lease.step
            where lease.policy = v_policy.name
        ),
        'history', (
            select coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'version', latest.version,
                        'event', latest.event,
                        'changed_at', latest.changed_at,
                        'changed_by', latest.changed_by,
                        -- what it was before, and what it became
                        'changes', (
                            select coalesce(
                                jsonb_object_agg(
                                    after.key, jsonb_build_array(before.value, after.value)
                                ),
                                '{}'
                            )
                            from jsonb_each(latest.before - c_not_settings) as before
                            join jsonb_each(latest.settings) as after on after.key = before.key
                            where latest.event = 'altered'
                              and after.value is distinct from before.value
                        )
                    )
                    order by latest.id desc
                ),
                '[]'
            )
            from (
                select change.*, lag(change.settings) over (order by change.id) as before
                from maintenance.policy_change as change
                where change.policy = v_policy.name
                order by change.id desc
                limit c_changes
            ) as latest
        ),
        'archives', (
            select coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'relation', archived.source,
                        'archive', archived.archive,
                        'is_ours', coalesce(known.is_ours, false),
                        'records_steps', maintenance.records_steps(
                            archived.source, archived.archive
                        ),
                        'former_columns', coalesce(to_jsonb(known.former), '[]'),
                        'tended_by', (
                            select coalesce(jsonb_agg(tending.name order by tending.name), '[]')
                            from maintenance.policy as tending
                            where tending.relation = archived.archive
                        )
                    )
                    order by archived.place
                ),
                '[]'
            )
            from maintenance.policy_archives(v_policy) as archived
            left join maintenance.archive as known on known.relation = archived.archive
        ),
        'archive_problem', maintenance.find_archive_drift(v_policy),
        'risks', (
            select coalesce(jsonb_agg(to_jsonb(risky)), '[]')
            from maintenance.find_policy_risks(v_policy) as risky
            where exists (
                select from pg_catalog.pg_class as class where class.oid = v_policy.relation
            )
        )
    );
end;
$function$;

revoke all on function maintenance.describe_policy(text) from public;

comment on function maintenance.describe_policy(text) is
    'Say as one document all settings of a policy, what was changed, how it stands and its risks.';
