-- Writes the statement that deletes the rows of a range together with their dependents; null where
-- the rows have to be locked first.
--
-- It deletes what refers to the rows that it deletes itself, so that neither can change in between,
-- and foreign keys are checked at its end. Somebody may have referred to a row just before it was
-- deleted, too late for the statement to see: with a plain foreign key that is an error, and the
-- caller locks first then. One that cascades would not tell, and a trigger or a rule could, who
-- went first.

create or replace function maintenance.joint_statement(
    policy maintenance.policy,
    leaf regclass,
    bounds text[],
    scope text,
    branch integer
)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select format(
        'with removed as (%s returning %s), %s select jsonb_build_object('
        '''removed'', (select count(*) from removed), ''dependents'', %s)',
        maintenance.policy_statement(policy, 'remove', leaf, bounds, scope, branch),
        (
            select string_agg(distinct format('target.%I', key.name), ', ')
            from jsonb_array_elements_text(
                jsonb_path_query_array((policy).dependents, '$[*].references[*]')
            ) as key (name)
        ),
        string_agg(
            format(
                'gone_%s as (delete from %s as dependent using removed where %s returning 1)',
                dependent.number, dependent.relation, dependent.is_of
            ),
            ', '
        ),
        string_agg(format('(select count(*) from gone_%s)', dependent.number), ' + ')
    )
    from (
        select
            element.ordinality,
            (element.value ->> 'relation')::regclass,
            (
                select string_agg(
                    format('dependent.%I = removed.%I', pair.child, pair.parent), ' and '
                )
                from rows from (
                    jsonb_array_elements_text(element.value -> 'columns'),
                    jsonb_array_elements_text(element.value -> 'references')
                ) as pair (child, parent)
            )
        from jsonb_array_elements((policy).dependents) with ordinality as element
    ) as dependent (number, relation, is_of)
    join pg_catalog.pg_class as class on class.oid = dependent.relation
    where (policy).action = 'delete'
      and not jsonb_path_exists((policy).dependents, '$[*].archive_table')
    having bool_and(
        class.relkind = 'r'
        and not class.relhassubclass
        and not class.relispartition
        and class.oid not in (leaf, (policy).relation)
        and not exists (
            select
            from pg_catalog.pg_constraint as referring
            where referring.conrelid = class.oid
              and referring.contype = 'f'
              and referring.confrelid in (leaf, (policy).relation)
              and referring.confdeltype not in ('a', 'r')
        )
    )
    and not exists (
        select
        from pg_catalog.pg_class as touched
        where touched.oid = any (array_agg(dependent.relation::oid) || leaf::oid)
          and (
              touched.relhasrules
              or exists (
                  select
                  from pg_catalog.pg_trigger as trigger
                  where trigger.tgrelid = touched.oid
                    and not trigger.tgisinternal
                    and trigger.tgtype & 8 <> 0  -- on delete
              )
          )
    );
$function$;

revoke all on function maintenance.joint_statement(
    maintenance.policy, regclass, text[], text, integer
)
    from public;

comment on function maintenance.joint_statement(
    maintenance.policy, regclass, text[], text, integer
) is
    'Return the statement that deletes rows and their dependents at once; null: lock them first.';
