-- What is in schema maintenance, and what there is of the objects named in kinds[i] and names[i]
-- elsewhere, each with a fingerprint of its definition; null where the application may change it.
--
-- No fingerprint depends on owners, rights or comments, nor on the oids of this database. Sweeps,
-- their sequences and what acts as a role are rendered from rows, and left out. With touched_only,
-- routines and views that the transaction in hand has not written come without: is_read is false.
with wanted as (
    select elsewhere.kind, elsewhere.name
    from unnest(%(kinds)s::text[], %(names)s::text[]) as elsewhere (kind, name)
),

defined (kind, name, is_read, definition) as (
    select
        case routine.prokind when 'p' then 'procedure' else 'function' end,
        routine.oid::regprocedure::text,
        written.is_read,
        case when written.is_read then
            jsonb_build_array(
                routine.prosrc,
                language.lanname,
                pg_get_function_arguments(routine.oid),
                pg_get_function_result(routine.oid),
                routine.provolatile,
                routine.proparallel,
                routine.prosecdef,
                routine.proisstrict,
                routine.proleakproof,
                routine.proconfig
            )
        end
    from pg_proc as routine
    -- the transaction in hand has age 0, and what it nests is younger
    cross join lateral (
        values (not %(touched_only)s or age(routine.xmin) <= 0)
    ) as written (is_read)
    join pg_namespace as namespace on namespace.oid = routine.pronamespace
    join pg_language as language on language.oid = routine.prolang
    where routine.prokind in ('f', 'p')
      and case namespace.nspname
          when 'maintenance' then
              not (routine.prorettype = 'trigger'::regtype and routine.proname like 'sweep\_%%')
              and not (
                  routine.proname like 'act\_as\_%%'
                  and oidvectortypes(routine.proargtypes) = 'text, bigint, tid[], boolean'
              )
          else format('%%I.%%I', namespace.nspname, routine.proname) in (
              select wanted.name from wanted where wanted.kind in ('function', 'procedure')
          )
      end
    union all
    select
        case class.relkind when 'v' then 'view' when 'm' then 'materialized view' else 'table' end,
        class.oid::regclass::text,
        class.relkind not in ('v', 'm') or written.is_read,
        case
            when class.relkind in ('v', 'm') and not written.is_read then null
            when class.relkind in ('v', 'm') then
                jsonb_build_array(
                    pg_get_viewdef(class.oid),
                    array(
                        select option.text
                        from unnest(class.reloptions) as option (text)
                        where option.text ~ '^(security|check)_'
                        order by option.text
                    )
                )
            when namespace.nspname = 'maintenance' then
                jsonb_build_array(
                    class.relkind,
                    class.relpersistence,
                    (
                        select jsonb_agg(
                            jsonb_build_array(
                                attribute.attname,
                                format_type(attribute.atttypid, attribute.atttypmod),
                                attribute.attnotnull,
                                attribute.attidentity,
                                attribute.attgenerated,
                                pg_get_expr(usual.adbin, usual.adrelid),
                                (
                                    select sorted.collname
                                    from pg_collation as sorted
                                    where sorted.oid = attribute.attcollation
                                )
                            )
                            order by attribute.attnum
                        )
                        from pg_attribute as attribute
                        left join pg_attrdef as usual
                            on usual.adrelid = attribute.attrelid
                            and usual.adnum = attribute.attnum
                        where attribute.attrelid = class.oid
                          and attribute.attnum > 0
                          and not attribute.attisdropped
                    ),
                    (
                        select jsonb_agg(
                            jsonb_build_array(
                                checked.conname, pg_get_constraintdef(checked.oid)
                            )
                            order by checked.conname
                        )
                        from pg_constraint as checked
                        where checked.conrelid = class.oid
                          and checked.contype in ('c', 'f', 'p', 'u', 'x')
                    )
                )
        end
    from pg_class as class
    join pg_namespace as namespace on namespace.oid = class.relnamespace
    cross join lateral (
        select
            not %(touched_only)s
            or age(class.xmin) <= 0
            or exists (
                select
                from pg_rewrite as rule
                where rule.ev_class = class.oid
                  and age(rule.xmin) <= 0
            )
    ) as written (is_read)
    where class.relkind in ('r', 'p', 'v', 'm', 'f')
      and (
          namespace.nspname = 'maintenance' and class.relname not like '\_yoyo\_%%'
          or format('%%I.%%I', namespace.nspname, class.relname) in (
              select wanted.name
              from wanted
              where wanted.kind in ('table', 'view', 'materialized view')
          )
      )
    union all
    select
        'index',
        index.indexrelid::regclass::text,
        true,
        jsonb_build_array(pg_get_indexdef(index.indexrelid), index.indisvalid)
    from pg_index as index
    join pg_class as class on class.oid = index.indrelid
    where class.relnamespace = to_regnamespace('maintenance')
      and class.relkind in ('r', 'p')
      and class.relname not like '\_yoyo\_%%'
      and not exists (
          select from pg_constraint as backed where backed.conindid = index.indexrelid
      )
    union all
    select
        'trigger',
        format('%%s.%%I', trigger.tgrelid::regclass, trigger.tgname),
        true,
        case when class.relnamespace = to_regnamespace('maintenance') then
            jsonb_build_array(pg_get_triggerdef(trigger.oid), trigger.tgenabled)
        end
    from pg_trigger as trigger
    join pg_class as class on class.oid = trigger.tgrelid
    where not trigger.tgisinternal
      and (
          class.relnamespace = to_regnamespace('maintenance')
          or format('%%s.%%I', trigger.tgrelid::regclass, trigger.tgname) in (
              select wanted.name from wanted where wanted.kind = 'trigger'
          )
      )
    union all
    select
        'sequence',
        class.oid::regclass::text,
        true,
        jsonb_build_array(
            format_type(sequence.seqtypid, null),
            sequence.seqstart, sequence.seqincrement, sequence.seqmin, sequence.seqmax,
            sequence.seqcache, sequence.seqcycle
        )
    from pg_sequence as sequence
    join pg_class as class on class.oid = sequence.seqrelid
    where class.relnamespace = to_regnamespace('maintenance')
      and class.relname not like 'sweep\_%%\_pace'
      and not exists (
          select
          from pg_depend as owned
          where owned.classid = 'pg_class'::regclass
            and owned.objid = class.oid
            and owned.deptype in ('a', 'i')
      )
    union all
    select
        'type',
        type.oid::regtype::text,
        true,
        case when namespace.nspname = 'maintenance' then
            jsonb_build_array(
                type.typtype,
                format_type(type.typbasetype, type.typtypmod),
                type.typnotnull,
                type.typdefault,
                (
                    select jsonb_agg(label.enumlabel order by label.enumsortorder)
                    from pg_enum as label
                    where label.enumtypid = type.oid
                ),
                (
                    select jsonb_agg(pg_get_constraintdef(checked.oid) order by checked.conname)
                    from pg_constraint as checked
                    where checked.contypid = type.oid
                      and checked.contype = 'c'
                ),
                (
                    select jsonb_agg(
                        jsonb_build_array(
                            attribute.attname,
                            format_type(attribute.atttypid, attribute.atttypmod)
                        )
                        order by attribute.attnum
                    )
                    from pg_attribute as attribute
                    where attribute.attrelid = type.typrelid
                      and not attribute.attisdropped
                )
            )
        end
    from pg_type as type
    join pg_namespace as namespace on namespace.oid = type.typnamespace
    left join pg_class as class on class.oid = type.typrelid
    where (type.typtype in ('d', 'e', 'r') or class.relkind = 'c')
      and (
          namespace.nspname = 'maintenance'
          or format('%%I.%%I', namespace.nspname, type.typname) in (
              select wanted.name from wanted where wanted.kind = 'type'
          )
      )
    union all
    select 'column', wanted.name, true, null
    from wanted
    where wanted.kind = 'column'
      and exists (
          select
          from pg_attribute as attribute
          where attribute.attrelid = to_regclass(substring(wanted.name from '^(.*)\.[^.]+$'))
            and attribute.attnum > 0
            and not attribute.attisdropped
            and quote_ident(attribute.attname) = substring(wanted.name from '([^.]+)$')
      )
)

select
    defined.kind,
    defined.name,
    defined.is_read,
    encode(sha256(convert_to(defined.definition::text, 'UTF8')), 'hex') as fingerprint
from defined
