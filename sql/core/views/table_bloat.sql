-- Estimates what a rewrite of each table with the same fillfactor would give back (VACUUM FULL, or
-- the like), from statistics alone: no extension, and no table is read.
--
--   row      = 24 (header) + 8 at a time for the bitmap of nulls, in rows that have one and more
--              than eight columns, + the columns with their alignment (aligned_width)
--   item     = row + 4 (its pointer)
--   usable   = block - 24 (header of the page) - what the fillfactor leaves
--   pages    = rows / items_per_page(usable, item), rounded up
--   wasted   = pages that there are - pages that it takes
--
-- Source: "Database Page Layout" in PostgreSQL's documentation, and what CLUSTER and VACUUM FULL
-- do: they fill page after page until the next row would not fit. So what is wasted are rows that
-- were removed, and space that was left by them; not what the fillfactor reserves, nor what a page
-- cannot hold. TOAST is not looked at. Partitions come one by one.
--
-- Below 20 pages one page more or less is five points or more, and nothing is gained: unknown,
-- where there are rows.

create or replace view maintenance.table_bloat
with (security_invoker = true)
as
with shape as materialized (
    select
        attribute.attrelid as relation,
        max(attribute.attnum) as columns,
        array_agg(
            case
                when attribute.attlen > 0 then attribute.attlen else coalesce(widths.width, 0)
            end
            order by attribute.attnum
        ) as sizes,
        array_agg(
            case
                -- up to 126 bytes a value of variable length has a header of one, and any place
                when attribute.attlen < 0 and widths.width <= 127 then 1
                when attribute.attalign = 'c' then 1
                when attribute.attalign = 's' then 2
                when attribute.attalign = 'i' then 4
                else 8
            end
            order by attribute.attnum
        ) as alignments,
        array_agg(
            case when attribute.attisdropped then 1 else coalesce(widths.null_share, 0) end
            order by attribute.attnum
        ) as nulls,
        array_agg(
            case
                when attribute.attlen < 0 and widths.relation is not null then widths.residues
                else '{0, 0, 0, 0, 0, 0, 0, 0}'::double precision[]
            end
            order by attribute.attnum
        ) as residues,
        exp(sum(ln(greatest(
            case
                when attribute.attisdropped then 0
                else 1 - coalesce(widths.null_share, 0)
            end,
            0.0000000001
        )))) as share_without_nulls,
        sum(
            coalesce(
                (1 - widths.null_share)
                * case when attribute.attlen < 0 then widths.variance else 0 end
                + widths.null_share * (1 - widths.null_share) * power(widths.width, 2),
                0
            )
        ) as variance,
        count(*) filter (where not attribute.attisdropped and widths.relation is null) as unseen
    from pg_catalog.pg_attribute as attribute
    join pg_catalog.pg_class as class on class.oid = attribute.attrelid
    left join maintenance.column_widths() as widths
        on widths.relation = attribute.attrelid
        and widths.position = attribute.attnum
    where class.relkind in ('r', 'm')
      and attribute.attnum > 0
    group by attribute.attrelid
)
select
    known.schema_name,
    known.table_name,
    known.pages * block.size as heap_bytes,
    rewritten.pages * block.size as rewritten_bytes,
    (known.pages - rewritten.pages) * block.size as wasted_bytes,
    round(
        100.0 * (known.pages - rewritten.pages) / greatest(known.pages, 1), 1
    )::double precision as wasted_percent,
    filled.factor as fillfactor,
    case when known.estimated_rows >= 0 then known.estimated_rows::bigint end as estimated_rows,
    coalesce(judged.reason, 'estimated') as state
from maintenance.statistics_state as known
join pg_catalog.pg_class as class on class.oid = known.relation
cross join (select current_setting('block_size')::integer) as block (size)
left join shape on shape.relation = known.relation
cross join lateral (
    select coalesce(
        (
            select option.option_value::integer
            from pg_options_to_table(class.reloptions) as option
            where option.option_name = 'fillfactor'
        ),
        100
    ) as factor
) as filled
cross join lateral (
    select case
        when known.pages = 0 then null
        when known.reason is not null then known.reason
        when known.pages = 1 and known.estimated_rows > 0 then null
        when known.estimated_rows = 0 then null
        when known.pages < 20 then 'unknown, smaller than 20 pages'
        when shape.unseen > 0 and row_security_active(known.relation) then
            format('unknown, row security hides the statistics of %s', known.named)
        when shape.unseen > 0 and not has_table_privilege(known.relation, 'select') then
            format('unknown, needs SELECT on %s', known.named)
        when shape.unseen > 0 then 'unknown, run ANALYZE'
    end as reason
) as judged
left join lateral (
    select
        24
        + case
            when shape.columns > 8 then
                (1 - shape.share_without_nulls)
                * (ceil((23 + ceil(shape.columns / 8.0)) / 8.0) * 8 - 24)
            else 0
        end
        + maintenance.aligned_width(
            sizes => shape.sizes,
            alignments => shape.alignments,
            nulls => shape.nulls,
            residues => shape.residues
        )
        + 4 as size
    where judged.reason is null
      and known.pages > 1
      and known.estimated_rows > 0
) as item on true
cross join lateral (
    select case
        when judged.reason is not null then null
        when known.pages = 0 or known.estimated_rows = 0 then 0
        when known.pages = 1 then 1
        else least(
            ceil(
                known.estimated_rows / maintenance.items_per_page(
                    usable => block.size - 24 - block.size * (100 - filled.factor) / 100,
                    size => item.size,
                    variance => shape.variance
                )
            ),
            known.pages
        )
    end::bigint as pages
) as rewritten
order by wasted_bytes desc nulls last, known.schema_name, known.table_name;

revoke all on table maintenance.table_bloat from public;

comment on view maintenance.table_bloat is
    'What a rewrite with the same fillfactor would give back of each table, without its TOAST: an '
    'estimate from statistics, partitions one by one; null where they do not tell.';
comment on column maintenance.table_bloat.schema_name is 'Schema of the table.';
comment on column maintenance.table_bloat.table_name is 'Name of the table, unquoted.';
comment on column maintenance.table_bloat.heap_bytes is 'Size of the rows now, without TOAST.';
comment on column maintenance.table_bloat.rewritten_bytes is 'What they would take if rewritten.';
comment on column maintenance.table_bloat.wasted_bytes is 'The difference.';
comment on column maintenance.table_bloat.wasted_percent is 'The difference, of the size now.';
comment on column maintenance.table_bloat.fillfactor is 'How full pages are made.';
comment on column maintenance.table_bloat.estimated_rows is
    'Rows at the last VACUUM or ANALYZE; null before the first.';
comment on column maintenance.table_bloat.state is
    'estimated, or unknown with the reason and what helps.';
