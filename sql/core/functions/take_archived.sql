-- Moves old rows of an archive into a temporary table, from which the caller copies them out.
--
-- What is stored there is what the DELETE returns, by the same statement: it is exactly what goes.
-- It runs as the owner of the archive. With COPY (DELETE ...) it would be planned in the caller's
-- session, and planning alone runs functions of whoever owns the table: those in the predicates of
-- its indexes.
--
-- Rows are walked in the order of their places, from the one after "after" on, so that the next
-- call does not read what this one has moved. A gentle call leaves out the rows that others hold.

create or replace function maintenance.take_archived(
    archive regclass,
    leaf regclass,
    before timestamptz,
    after tid,
    size bigint,
    is_gentle boolean
)
returns jsonb
language plpgsql
security definer  -- the archive is read with the rights of its owner: see install_executor
set search_path = pg_catalog, pg_temp
set enable_bitmapscan = off
set enable_indexscan = off
set enable_indexonlyscan = off
set enable_tidscan = on
set max_parallel_workers_per_gather = 0
set synchronize_seqscans = off
as $function$
#variable_conflict use_variable
declare
    v_columns text;
    v_has_steps boolean;
begin
    perform maintenance.assert_movable(archive, 'delete');

    if not exists (
        select from maintenance.leaves_of(archive) as known where known = leaf
    ) then
        raise exception using
            errcode = 'wrong_object_type',
            message = format('%s is not a part of %s', leaf, archive);
    end if;

    select
        string_agg(quote_ident(attribute.attname), ', ' order by attribute.attnum),
        bool_or(attribute.attname = '_archived_by_step' and attribute.atttypid = 'int8'::regtype)
    into v_columns, v_has_steps
    from pg_catalog.pg_attribute as attribute
    where attribute.attrelid = archive
      and attribute.attnum > 0
      and not attribute.attisdropped;

    perform maintenance.run_as_owner(
        archive,
        format(
            'create temporary table taken_rows on commit drop as select %s from %s with no data',
            v_columns,
            archive
        ),
        answers => false
    );
    perform maintenance.run_as_owner(
        archive,
        format('grant select on table pg_temp.taken_rows to %I', maintenance.caller()),
        answers => false
    );

    return maintenance.run_as_owner(
        archive,
        format(
            'with chosen as materialized ('
            'select archived.ctid as place from only %1$s as archived'
            ' where archived.ctid > %2$L::tid and archived._archived_at < %3$L::timestamptz'
            ' limit %4$s%5$s'
            '), gone as ('
            'delete from only %1$s as archived'
            ' where archived.ctid = any (array(select chosen.place from chosen))'
            ' and archived._archived_at < %3$L::timestamptz'
            ' returning %6$s'
            '), stored as ('
            'insert into pg_temp.taken_rows select * from gone returning _archived_at, %7$s as step'
            ') select jsonb_build_object('
            '''rows'', count(*), ''oldest'', min(stored._archived_at),'
            ' ''newest'', max(stored._archived_at),'
            ' ''steps'', coalesce(jsonb_agg(distinct stored.step)'
            ' filter (where stored.step is not null), ''[]''),'
            ' ''seen'', (select count(*) from chosen),'
            ' ''after'', (select max(chosen.place) from chosen)) from stored',
            leaf,
            after,
            before,
            size,
            case when is_gentle then ' for update skip locked' else '' end,
            v_columns,
            case when v_has_steps then '_archived_by_step' else 'null::bigint' end
        )
    );
end;
$function$;

revoke all on function maintenance.take_archived(
    regclass, regclass, timestamptz, tid, bigint, boolean
) from public;

comment on function maintenance.take_archived(
    regclass, regclass, timestamptz, tid, bigint, boolean
) is
    'Move rows of an archive that are older than a moment into the temporary table taken_rows.';
