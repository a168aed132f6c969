-- Refuses a copy in which a policy might be about another table than it was.
--
-- A policy outlives its table as a number, and so it is in a dump; where that is restored, another
-- table may have the number, or get it some day. So a policy of no table gets the number of none,
-- and the names of all others are compared with those noted when the policies last changed.

create or replace function maintenance.assert_policy_tables()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_policy maintenance.policy;
    v_noted text;
begin
    update maintenance.policy as policy
    set relation = 0
    where not exists (
        select from pg_catalog.pg_class as class where class.oid = policy.relation
    );

    for v_policy in
        select policy.*
        from maintenance.policy as policy
        where policy.relation <> 0
          and policy.is_enabled
        order by policy.name
    loop
        select change.settings ->> 'relation'
        into v_noted
        from maintenance.policy_change as change
        where change.policy = v_policy.name
          and change.settings is not null
        order by change.version desc
        limit 1;

        if v_noted = v_policy.relation::text or v_noted is null then
            continue;
        elsif exists (select from maintenance.find_policy_errors(v_policy)) then
            update maintenance.policy as policy
            set relation = 0
            where policy.name = v_policy.name;
            continue;
        end if;

        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format(
                'policy %s was about %s, and would be about %s here',
                v_policy.name, v_noted, v_policy.relation
            ),
            detail = 'The table was renamed; or it was dropped, and another one has its number '
                'here. Nothing was changed.',
            hint = format(
                'If it is the table, select maintenance.alter_policy(%1$L, ''{}''); if it is not, '
                'select maintenance.%2$s. Then adopt once more.',
                v_policy.name,
                format(
                    case
                        when v_policy.chain is null then 'remove_policy(%L)'
                        else 'enable_policy(%L, false)'
                    end,
                    v_policy.name
                )
            );
    end loop;
end;
$function$;

revoke all on function maintenance.assert_policy_tables() from public;

comment on function maintenance.assert_policy_tables() is
    'Raise an error where a policy is about a table of another name than it was.';
