-- Estimates what rebuilding each btree index would give back (REINDEX), from statistics alone: no
-- extension, and neither table nor index is read.
--
--   entry    = 8 (header) + 8 for the bitmap of nulls, in entries that have one, + the columns with
--              their alignment (aligned_width)
--   item     = entry + 4 (its pointer); of equal keys one entry for many rows (posting_lists)
--   usable   = block - 24 (header) - 16 (its end) - 4 - what the fillfactor leaves, 90 by default
--   leaves   = items / items_per_page(usable, item), rounded up
--   inner    = the pages above them, filled to 70 %, and one for the whole
--   wasted   = pages that there are - pages that it takes
--
-- Source: "Database Page Layout", "B-Tree Structure" and "B-Tree Deduplication" in PostgreSQL's
-- documentation. A build adds entries until the page is as full as the fillfactor says, and moves
-- the last one to the next page.
--
-- With equal keys, the size depends on how many there are. n_distinct of one column is an estimate
-- from a sample: wide of the mark where some values are far more common than others, or where
-- equal ones stand together in a table of more pages than the sample has rows. Of several columns,
-- nobody counts the combinations, unless CREATE STATISTICS (ndistinct) asks for it. So the size is
-- computed for the fewest and for the most keys that there may be; where the two are more than ten
-- points apart, it is unknown.

create or replace view maintenance.index_bloat
with (security_invoker = true)
as
with part as materialized (
    select
        defined.indexrelid as index,
        defined.indrelid as relation,
        defined.indnkeyatts >= attribute.attnum as is_key,
        attribute.attnum as position,
        attribute.attlen as length,
        case
            when attribute.attlen < 0 and widths.width <= 127 then 1
            when attribute.attalign = 'c' then 1
            when attribute.attalign = 's' then 2
            when attribute.attalign = 'i' then 4
            else 8
        end as alignment,
        defined.indkey[attribute.attnum - 1] as source,
        -- a condition on the column tells which of its values are there, and statistics do not
        coalesce(
            defined.indpred::text ~ format(':varattno %s ', defined.indkey[attribute.attnum - 1]),
            false
        ) as is_in_condition,
        coalesce(defined.indpred::text ~ ':nulltesttype 0', false) as is_about_nulls,
        widths.width,
        widths.variance,
        widths.residues,
        widths.null_share,
        widths.distinct_values,
        widths.common_values,
        widths.common_share,
        widths.relation is not null as is_seen,
        exists (
            select
            from pg_catalog.pg_opclass as class
            join pg_catalog.pg_amproc as support
                on support.amprocfamily = class.opcfamily
                and support.amproclefttype = class.opcintype
                and support.amprocrighttype = class.opcintype
                and support.amprocnum = 4
            where class.oid = defined.indclass[attribute.attnum - 1]
        )
        and not exists (
            select
            from pg_catalog.pg_collation as rule
            where rule.oid = defined.indcollation[attribute.attnum - 1]
              and not rule.collisdeterministic
        ) as may_be_listed
    from pg_catalog.pg_index as defined
    join pg_catalog.pg_class as class on class.oid = defined.indexrelid
    join pg_catalog.pg_am as method on method.oid = class.relam
    join pg_catalog.pg_attribute as attribute on attribute.attrelid = defined.indexrelid
    left join maintenance.column_widths() as widths
        on (widths.relation, widths.position) = (
            case
                when defined.indkey[attribute.attnum - 1] = 0 then defined.indexrelid
                else defined.indrelid
            end,
            case
                when defined.indkey[attribute.attnum - 1] = 0 then attribute.attnum
                else defined.indkey[attribute.attnum - 1]
            end
        )
    where method.amname = 'btree'
      and class.relkind = 'i'
      and class.relpersistence <> 't'
),
shape as materialized (
    select
        part.index,
        array_agg(
            case when part.length > 0 then part.length else coalesce(part.width, 0) end
            order by part.position
        ) as sizes,
        array_agg(part.alignment order by part.position) as alignments,
        array_agg(
            case when part.is_in_condition then 0 else coalesce(part.null_share, 0) end
            order by part.position
        ) as nulls,
        array_agg(
            case
                when part.length < 0 and part.is_seen then part.residues
                else '{0, 0, 0, 0, 0, 0, 0, 0}'::double precision[]
            end
            order by part.position
        ) as residues,
        exp(sum(ln(greatest(
            case when part.is_in_condition then 1 else 1 - coalesce(part.null_share, 0) end,
            0.0000000001
        )))) as share_without_nulls,
        sum(
            coalesce(
                (1 - part.null_share) * case when part.length < 0 then part.variance else 0 end
                + part.null_share * (1 - part.null_share) * power(part.width, 2),
                0
            )
        ) as variance,
        bool_or(not part.is_seen) as is_unseen,
        bool_or(
            part.is_in_condition
            and (part.is_about_nulls or (part.length < 0 and part.variance > 0))
        ) as is_chosen,
        bool_or(part.length < 0 and part.width > 400) as is_long,
        bool_and(part.may_be_listed or not part.is_key) as may_be_listed,
        count(*) filter (where part.is_key) as keys,
        bool_or(part.is_key and part.is_in_condition) as is_key_in_condition,
        bool_or(
            part.is_key
            and -part.distinct_values >= 1 - part.null_share
            and (part.null_share = 0 or part.is_in_condition)
        ) as has_unique_column,
        array_agg(part.distinct_values order by part.position) filter (where part.is_key)
            as distinct_values,
        array_agg(part.source order by part.source) filter (where part.is_key) as sources,
        -- what follows is of use for one column
        max(part.null_share) filter (where part.is_key) as null_share,
        max(part.common_values) filter (where part.is_key) as common_values,
        max(part.common_share) filter (where part.is_key) as common_share
    from part
    group by part.index
),
entry as materialized (
    select
        shape.*,
        known.relation,
        known.schema_name,
        known.table_name,
        class.relname as index_name,
        known.pages as table_pages,
        known.estimated_rows as table_rows,
        block.size as block,
        taken.pages,
        options.fillfactor,
        defined.indpred is not null as is_partial,
        case
            when defined.indpred is null then known.estimated_rows
            else greatest(class.reltuples, 0)::double precision
        end as rows,
        not defined.indisunique
        and shape.may_be_listed
        and options.is_listing
        and defined.indnatts = defined.indnkeyatts as has_lists,
        case
            when not defined.indisvalid then 'unknown, it is invalid'
            when known.reason is not null then known.reason
            when taken.pages <= 2 or known.estimated_rows = 0 then null
            when taken.pages < 20 then 'unknown, smaller than 20 pages'
            when shape.is_unseen and row_security_active(known.relation) then
                format('unknown, row security hides the statistics of %s', known.named)
            when shape.is_unseen and not has_table_privilege(known.relation, 'select') then
                format('unknown, needs SELECT on %s', known.named)
            when shape.is_unseen then 'unknown, run ANALYZE'
            when shape.is_chosen then
                'unknown, its condition may choose among keys of different lengths'
            when shape.is_long then 'unknown, its keys are so long that they may be compressed'
        end as reason
    from shape
    join pg_catalog.pg_index as defined on defined.indexrelid = shape.index
    join pg_catalog.pg_class as class on class.oid = shape.index
    join maintenance.statistics_state as known on known.relation = defined.indrelid
    cross join (select current_setting('block_size')::integer) as block (size)
    cross join lateral (
        select
            coalesce(
                max(option.option_value) filter (where option.option_name = 'fillfactor'), '90'
            )::integer as fillfactor,
            coalesce(
                max(option.option_value) filter (where option.option_name = 'deduplicate_items'),
                'on'
            )::boolean as is_listing
        from pg_options_to_table(class.reloptions) as option
    ) as options
    cross join lateral (select pg_relation_size(shape.index) / block.size as pages) as taken
    where taken.pages is not null  -- dropped while we were looking
),
sized as materialized (
    select
        entry.*,
        8
        + 8 * (1 - entry.share_without_nulls)
        + maintenance.aligned_width(
            sizes => entry.sizes,
            alignments => entry.alignments,
            nulls => entry.nulls,
            residues => entry.residues
        ) as size,
        greatest(entry.rows, 1) / greatest(entry.table_rows, 1) as share,
        distinct_keys.fewest,
        distinct_keys.most,
        entry.keys = 1 and not entry.is_partial as is_grouped
    from entry
    cross join lateral (
        select
            max(each.number) as most_of_one,
            exp(least(sum(ln(greatest(each.number, 1))), 700)) as product
        from (
            select case
                when listed.value < 0 then -listed.value * entry.table_rows
                else listed.value
            end
            from unnest(entry.distinct_values) as listed (value)
        ) as each (number)
    ) as counted
    left join lateral (
        select (kept.n_distinct::text::jsonb ->> array_to_string(entry.sources, ', '))
            ::double precision as number
        from pg_catalog.pg_stats_ext as kept
        where kept.schemaname = entry.schema_name
          and kept.tablename = entry.table_name
          and kept.n_distinct::text::jsonb ? array_to_string(entry.sources, ', ')
          and entry.keys > 1
          and entry.has_lists
        limit 1
    ) as combined on true
    cross join lateral (
        select
            entry.table_rows
            > 300 * current_setting('default_statistics_target')::double precision as is_sampled,
            greatest(
                entry.table_pages
                / (300 * current_setting('default_statistics_target')::double precision),
                1
            ) as clustering,
            entry.common_values > 0
            and entry.common_share / entry.common_values
                > 4 * (1 - entry.common_share - entry.null_share)
                / greatest(counted.most_of_one - entry.common_values, 1) as is_skewed
    ) as sample
    cross join lateral (
        select
            case
                when entry.has_unique_column then entry.rows
                when combined.number is not null then combined.number / 1.1
                when entry.is_key_in_condition then 1
                when entry.keys = 1 and sample.is_sampled then
                    counted.most_of_one / case when sample.is_skewed then 1.5 else 1.1 end
                else counted.most_of_one
            end as fewest,
            case
                when entry.has_unique_column then entry.rows
                when combined.number is not null then
                    combined.number * 1.1 * sample.clustering
                when entry.keys = 1 and not sample.is_sampled then counted.most_of_one
                when entry.keys = 1 then
                    counted.most_of_one * sample.clustering
                    * case when sample.is_skewed then 2 else 1.1 end
                else counted.product
            end as most
    ) as bound
    cross join lateral (
        select
            least(
                bound.fewest
                * case
                    when entry.is_partial and not entry.has_unique_column then
                        greatest(entry.rows, 1) / greatest(entry.table_rows, 1)
                    else 1
                end,
                entry.rows
            ) as fewest,
            least(bound.most, entry.rows) as most
    ) as distinct_keys
    where entry.reason is null
      and entry.pages > 2
      and entry.rows > 0
),
built as materialized (
    select
        sized.index,
        min(total.pages) as fewest,
        max(total.pages) as most
    from sized
    cross join lateral unnest(array[sized.fewest, sized.most]) as number (keys)
    cross join lateral (
        select
            sum(list.items) as items,
            sum(list.bytes) as bytes
        from (
            values
                (
                    case when sized.is_grouped then sized.rows * sized.null_share end,
                    case when sized.null_share > 0 then 1 else 0 end
                ),
                (
                    case when sized.is_grouped then sized.rows * sized.common_share end,
                    sized.common_values
                ),
                (
                    case
                        when sized.is_grouped then
                            sized.rows * (1 - sized.null_share - sized.common_share)
                        else sized.rows
                    end,
                    case
                        when sized.is_grouped then number.keys - sized.common_values
                        else number.keys
                    end
                )
        ) as subset (rows, keys)
        cross join lateral maintenance.posting_lists(
            rows => subset.rows,
            -- at least one key, and at most one for each row
            keys => least(greatest(subset.keys, 1), subset.rows),
            key_size => sized.size
        ) as list
        where subset.rows >= 1
          and sized.has_lists
        union all
        select sized.rows, sized.rows * (sized.size + 4)
        where not sized.has_lists
    ) as content
    cross join lateral (
        select
            content.bytes / content.items as size,
            content.bytes / content.items - sized.size - 4 as list
    ) as item
    cross join lateral (
        select ceil(
            content.items / maintenance.items_per_page(
                usable => least(
                    sized.block - 44 - sized.block * (100 - sized.fillfactor) / 100
                    -- of the last entry, which moves on, the list need not stay
                    + greatest(item.list, 0),
                    sized.block - 52 - case when item.list > 1 then item.size else 0 end
                ),
                size => item.size,
                variance => sized.variance
                    -- how many rows a key has varies as if by chance; long lists are all full
                    + case
                        when item.list <= 1 or sized.rows > 1000 * number.keys then 0
                        when item.size * 12 < sized.block then 6 * item.list
                        else power(item.list / 3, 2)
                    end
            )
        ) as pages
        where content.items > 0
    ) as leaves
    cross join lateral (
        select 1 + leaves.pages + case
            when leaves.pages > 1 then
                ceil(
                    leaves.pages / (
                        floor(
                            (sized.block - 44 - sized.block * 30 / 100)
                            / (sized.size + 4 + case when item.list > 1 then 8 else 0 end)
                        ) - 1
                    )
                )
            else 0
        end as pages
    ) as total
    group by sized.index
)
select
    entry.schema_name,
    entry.table_name,
    entry.index_name,
    entry.pages * entry.block as index_bytes,
    rebuilt.pages * entry.block as rebuilt_bytes,
    (entry.pages - rebuilt.pages) * entry.block as wasted_bytes,
    round(
        100.0 * (entry.pages - rebuilt.pages) / greatest(entry.pages, 1), 1
    )::double precision as wasted_percent,
    entry.fillfactor,
    coalesce(judged.reason, 'estimated') as state
from entry
left join built on built.index = entry.index
cross join lateral (
    select coalesce(
        entry.reason,
        case
            when least(built.most, entry.pages) - least(built.fewest, entry.pages)
                 > 0.1 * entry.pages
                then case
                    when entry.keys > 1 and not entry.is_partial then format(
                        'unknown, needs CREATE STATISTICS (ndistinct) on the keys of %I.%I',
                        entry.schema_name, entry.index_name
                    )
                    else 'unknown, statistics do not tell how many keys are equal'
                end
        end
    ) as reason
) as judged
cross join lateral (
    select case
        when judged.reason is not null then null
        when entry.rows = 0 or entry.table_rows = 0 then 1
        when entry.pages <= 2 then entry.pages
        else least(round((built.fewest + built.most) / 2), entry.pages)
    end::bigint as pages
) as rebuilt
order by wasted_bytes desc nulls last, entry.schema_name, entry.index_name;

revoke all on table maintenance.index_bloat from public;

comment on view maintenance.index_bloat is
    'What rebuilding each btree index would give back: an estimate from statistics; null where '
    'they do not tell.';
comment on column maintenance.index_bloat.schema_name is 'Schema of the table and its index.';
comment on column maintenance.index_bloat.table_name is 'Table that is indexed, unquoted.';
comment on column maintenance.index_bloat.index_name is 'Name of the index, unquoted.';
comment on column maintenance.index_bloat.index_bytes is 'Size of the index now.';
comment on column maintenance.index_bloat.rebuilt_bytes is 'What it would take if rebuilt.';
comment on column maintenance.index_bloat.wasted_bytes is 'The difference.';
comment on column maintenance.index_bloat.wasted_percent is 'The difference, of the size now.';
comment on column maintenance.index_bloat.fillfactor is 'How full its leaf pages are made.';
comment on column maintenance.index_bloat.state is
    'estimated, or unknown with the reason and what helps.';
