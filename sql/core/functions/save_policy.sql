-- Puts a policy together, checks it, stores it, and notes the change. Returns the stored row.
--
-- Settings come in three layers: what is usual, what was registered, what users changed. Among the
-- changes, null takes one back; so a limit is lifted, and what belongs to another action taken
-- away, with a word: 'none'.

create or replace function maintenance.save_policy(
    policy text,
    relation regclass,
    chain text,
    shipped jsonb,
    changes jsonb,
    event text
)
returns maintenance.policy
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_given jsonb := case
        when save_policy.changes ? 'branches' then
            save_policy.shipped - array['column', 'unit', 'comparison']
        when save_policy.changes ? 'column' then
            save_policy.shipped - 'branches'
        else save_policy.shipped
    end || save_policy.changes;
    v_settings text[] := array(
        select setting.attname::text
        from pg_catalog.pg_attribute as setting
        where setting.attrelid = 'maintenance.policy'::regclass
          and setting.attnum > 0
          and not setting.attisdropped
          and setting.attname not in (
              'name', 'relation', 'chain', 'shipped', 'version', 'changed_at', 'changed_by'
          )
        order by setting.attnum
    );
    v_branch jsonb;
    v_policy maintenance.policy;
    v_unknown text;
    v_errors text[];
begin
    -- One column is the usual case, and is written without the array.
    select jsonb_object_agg(given.key, given.value)
    into v_branch
    from jsonb_each(v_given) as given
    where given.key in ('column', 'unit', 'comparison');

    if v_branch is not null then
        if v_given ? 'branches' then
            raise exception using
                errcode = 'invalid_parameter_value',
                message = format('policy %s: column, unit and comparison belong into a branch',
                    policy),
                hint = 'Give either branches, or the column of the only one.';
        end if;
        v_given := v_given - array['column', 'unit', 'comparison']
            || jsonb_build_object('branches', jsonb_build_array(v_branch));
    end if;

    select string_agg(given.key, ', ')
    into v_unknown
    from jsonb_object_keys(v_given) as given (key)
    where given.key <> all (v_settings);

    if v_unknown is not null then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format('policy %s: there is no setting %s', policy, v_unknown),
            hint = format(
                'The settings are %s; of a single branch also column, unit and comparison.',
                array_to_string(v_settings, ', ')
            );
    end if;

    select v_given || coalesce(jsonb_object_agg(given.key, null), '{}')
    into v_given
    from jsonb_each(v_given) as given
    where given.value = '"none"'
      and given.key in (
          'max_rows', 'max_duration', 'guard_rows', 'guard_share', 'backup_within', 'max_silence',
          'archive_table', 'assignments'  -- which belong to one action
      );

    begin
        v_policy := jsonb_populate_record(
            null::maintenance.policy,
            jsonb_build_object(
                'operation', 'cleanup', 'is_enabled', true, 'action', 'delete',
                'branches', '[]'::jsonb, 'retention', '0 s', 'grace', '0 s', 'zone', 'UTC',
                'dependents', '[]'::jsonb,
                'allow_cascade', false, 'batch_size', 10000, 'guard_rows', 1000000,
                'guard_share', 0.5, 'severity', 'LOW', 'priority', 100
            )
            || v_given
            || jsonb_build_object(
                'name', save_policy.policy, 'chain', save_policy.chain,
                'shipped', save_policy.shipped,
                'changed_at', now(), 'changed_by', maintenance.caller(),
                'version', coalesce(
                    (
                        select max(change.version)
                        from maintenance.policy_change as change
                        where change.policy = save_policy.policy
                    ),
                    0
                ) + 1
            )
        );
        v_policy.relation := save_policy.relation;

        delete from maintenance.policy as known
        where known.name = save_policy.policy;

        insert into maintenance.policy
        select v_policy.*;
    exception
        when check_violation or unique_violation then
            declare
                v_constraint text;
            begin
                get stacked diagnostics v_constraint = constraint_name;
                raise exception using
                    errcode = 'check_violation',
                    message = format(
                        'policy %s: %s',
                        policy,
                        coalesce(
                            (
                                select obj_description(checked.oid, 'pg_constraint')
                                from pg_catalog.pg_constraint as checked
                                where checked.conname = v_constraint
                                  and checked.conrelid = 'maintenance.policy'::regclass
                            ),
                            sqlerrm
                        )
                    );
            end;
        when data_exception or undefined_table or not_null_violation or invalid_schema_name then
            raise exception using
                errcode = 'invalid_parameter_value',
                message = format('policy %s: %s', policy, sqlerrm),
                hint = 'maintenance.policy says what each setting is, and of which type.';
    end;

    perform maintenance.install_executor((
        select pg_get_userbyid(class.relowner)
        from pg_catalog.pg_class as class
        where class.oid = save_policy.relation
    ));
    perform maintenance.drop_idle_executors();

    v_errors := array(select maintenance.find_policy_errors(v_policy));

    if cardinality(v_errors) > 0 then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format('policy %s: %s', policy, v_errors[1]),
            detail = array_to_string(v_errors[2:] || text 'Nothing was changed.', E'\n');
    end if;

    delete from maintenance.archive as stale
    where not exists (
        select from pg_catalog.pg_class as class where class.oid = stale.relation
    );

    insert into maintenance.archive as known (relation, source, columns, is_ours)
    select distinct
        archived.archive,
        archived.source,
        maintenance.archived_columns(archived.source),
        false
    from maintenance.policy_archives(v_policy) as archived
    where archived.archive is not null
    on conflict on constraint archive_pkey do update  -- the table was dropped, and made anew
        set source = excluded.source, columns = excluded.columns
        where known.source <> excluded.source;

    insert into maintenance.policy_change (policy, event, version, settings, changed_by)
    values (
        save_policy.policy, save_policy.event, v_policy.version, to_jsonb(v_policy),
        v_policy.changed_by
    );

    insert into maintenance.lease (policy)
    values (save_policy.policy)
    on conflict do nothing;

    return v_policy;
end;
$function$;

revoke all on function maintenance.save_policy(text, regclass, text, jsonb, jsonb, text)
    from public;

comment on function maintenance.save_policy(text, regclass, text, jsonb, jsonb, text) is
    'Check and store a policy of these settings, note the change, and return the policy.';
