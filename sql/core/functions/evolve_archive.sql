-- Brings the archives of a policy into line with their tables, and says what it changed.
--
-- A column that a table has gained is added, and empty in what was archived before. One that a
-- table has lost stays, with all that is in it, and is empty in what will be archived. Where a type
-- has changed there is no right answer: what is there would have to be converted.

create or replace function maintenance.evolve_archive(policy text)
returns table (archive regclass, column_name name, change text)
language plpgsql
security definer  -- nobody writes the list of archives but functions that ask who calls
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
declare
    v_policy maintenance.policy;
    v_pair record;
    v_bad record;
    v_changes text;
begin
    perform maintenance.take_turn(evolve_archive.policy);
    v_policy := maintenance.read_policy(evolve_archive.policy);

    if not exists (select from maintenance.policy_archives(v_policy)) then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format('policy %s has no archive', v_policy.name),
            hint = 'Only policies with action archive have one, and dependents with archive_table.';
    end if;

    for v_pair in
        select archived.source, archived.archive
        from maintenance.policy_archives(v_policy) as archived
        order by archived.place
    loop
        perform maintenance.assert_owner(v_pair.source);

        if v_pair.archive is null then
            raise exception using
                errcode = 'undefined_table',
                message = format('there is no archive of %s any more', v_pair.source),
                detail = 'Nothing was changed.',
                hint = format('maintenance.alter_policy(%L, ...) names another.', v_policy.name);
        end if;

        perform maintenance.assert_owner(v_pair.archive);

        select
            differing.message,
            differing.remedy || case differing.change
                when 'retyped' then ' converts what is there; or choose another archive_table'
                else ''
            end as remedy
        into v_bad
        from maintenance.archive_drift(v_pair.source, v_pair.archive) as differing
        where differing.remedy is not null
        limit 1;

        if found then
            raise exception using
                errcode = 'datatype_mismatch',
                message = v_bad.message,
                detail = 'Nothing was changed.',
                hint = v_bad.remedy || '.';
        end if;

        return query
        select v_pair.archive, differing.column_name, differing.change
        from maintenance.archive_drift(v_pair.source, v_pair.archive) as differing
        order by differing.column_name;

        select string_agg(
            case differing.change
                when 'added' then
                    format('add column %s default null', written.definition)  -- of a domain, too
                else format('alter column %I drop not null', differing.column_name)
            end,
            ', ' order by differing.column_name
        )
        into v_changes
        from maintenance.archive_drift(v_pair.source, v_pair.archive) as differing
        left join maintenance.column_definitions(v_pair.source) as written
            on written.column_name = differing.column_name
        where differing.change = 'added'
           or maintenance.column_type(v_pair.archive, differing.column_name) is not null;

        if v_changes is not null then
            perform maintenance.run_with_patience(
                v_pair.source, format('alter table %s ', v_pair.archive) || v_changes
            );
        end if;

        update maintenance.archive as known
        set
            columns = maintenance.archived_columns(v_pair.source),
            former = array(
                select former.name
                from unnest(
                    known.former || array(
                        select had.key::name from jsonb_object_keys(known.columns) as had (key)
                    )
                ) as former (name)
                where maintenance.column_type(v_pair.source, former.name) is null
                order by former.name
            )
        where known.relation = v_pair.archive;
    end loop;
end;
$function$;

revoke all on function maintenance.evolve_archive(text) from public;

comment on function maintenance.evolve_archive(text) is
    'Add to the archives of a policy what its tables have gained, and keep what they have lost.';
