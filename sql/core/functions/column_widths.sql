-- Reads from pg_stats what is known of the lengths of each column's values: for table_bloat and
-- index_bloat. What the caller may not see is not there.
--
-- pg_stats has the average length in whole bytes. Alignment needs more: whether all values are of
-- one length, and else their remainders modulo 8. So the lengths of text, numbers and bytea are
-- taken from a sample: ten of the most common values, and ten of the bounds of the histogram.
-- Numbers have 2 bytes for each four digits.
--
-- A function, and not a view, so that the planner expects as many rows as there may be.

create or replace function maintenance.column_widths()
returns table (
    relation oid,
    "position" smallint,
    null_share double precision,
    distinct_values double precision,
    common_values integer,
    common_share double precision,
    width double precision,
    variance double precision,
    residues double precision[]
)
language sql
stable
rows 10000
set search_path = pg_catalog, pg_temp
set jit = off
as $function$
    select
        attribute.attrelid,
        attribute.attnum as position,
        known.null_frac::double precision as null_share,
        known.n_distinct::double precision as distinct_values,
        case
            when cardinality(known.most_common_freqs) > 0 then cardinality(known.most_common_freqs)
            else 0
        end as common_values,
        common.share as common_share,
        case shape.kind
            when 'fixed' then
                case when attribute.attlen > 0 then attribute.attlen else known.avg_width end
            when 'alike' then round(lengths.mean)
            when 'varied' then
                case
                    when form.is_name then lengths.mean
                    -- the average of pg_stats is cut off to whole bytes
                    else least(greatest(lengths.mean, known.avg_width), known.avg_width + 0.99)
                end
            else known.avg_width + 0.5
        end as width,
        case shape.kind
            when 'varied' then lengths.variance
            when 'unknown' then
                coalesce(nullif(lengths.variance, 0), power(known.avg_width / 4.0, 2))
            else 0
        end as variance,
        case shape.kind
            when 'varied' then
                array(select each / lengths.weight from unnest(lengths.weights) as each)
            when 'unknown' then '{0.125, 0.125, 0.125, 0.125, 0.125, 0.125, 0.125, 0.125}'
            else '{0, 0, 0, 0, 0, 0, 0, 0}'
        end::double precision[] as residues
    from pg_catalog.pg_stats as known
    join pg_catalog.pg_namespace as namespace on namespace.nspname = known.schemaname
    join pg_catalog.pg_class as class
        on class.relnamespace = namespace.oid
        and class.relname = known.tablename
    join pg_catalog.pg_attribute as attribute
        on attribute.attrelid = class.oid
        and attribute.attname = known.attname
    join pg_catalog.pg_type as type on type.oid = attribute.atttypid
    cross join lateral (
        select
            type.typcategory = 'S' and attribute.attlen = -1 as is_text,
            type.typcategory = 'N' and attribute.attlen = -1 as is_numeric,
            type.oid = 'bytea'::regtype as is_bytea,
            type.oid = 'name'::regtype as is_name
    ) as form
    cross join lateral (
        select coalesce(sum(frequency), 0)::double precision as share
        from unnest(known.most_common_freqs) as frequency
        offset 0  -- once, and not for each value
    ) as common
    left join lateral (
        select
            sum(measured.weight * measured.length) / sum(measured.weight) as mean,
            case
                when min(measured.length) = max(measured.length) then 0
                else
                    sum(measured.weight * measured.length * measured.length) / sum(measured.weight)
                    - power(sum(measured.weight * measured.length) / sum(measured.weight), 2)
            end as variance,
            array[
                coalesce(sum(measured.weight) filter (where measured.length & 7 = 0), 0),
                coalesce(sum(measured.weight) filter (where measured.length & 7 = 1), 0),
                coalesce(sum(measured.weight) filter (where measured.length & 7 = 2), 0),
                coalesce(sum(measured.weight) filter (where measured.length & 7 = 3), 0),
                coalesce(sum(measured.weight) filter (where measured.length & 7 = 4), 0),
                coalesce(sum(measured.weight) filter (where measured.length & 7 = 5), 0),
                coalesce(sum(measured.weight) filter (where measured.length & 7 = 6), 0),
                coalesce(sum(measured.weight) filter (where measured.length & 7 = 7), 0)
            ] as weights,
            sum(measured.weight) as weight
        from (
            select
                sample.weight,
                case
                    when form.is_name then octet_length(sample.value) + 1
                    when form.is_numeric then
                        3 + 2 * ceil(length(digits.significant) / 4.0)::integer
                    else stored.bytes + case when stored.bytes <= 126 then 1 else 4 end
                end as length
            from (
                select
                    listed.texts[place],
                    known.most_common_freqs[place]::double precision * listed.step
                from (
                    select
                        known.most_common_vals::text::text[] as texts,
                        greatest(cardinality(known.most_common_freqs) / 10, 1) as step
                    offset 0  -- or the array is made anew for each of its values
                ) as listed
                cross join lateral generate_series(
                    1, cardinality(known.most_common_freqs), listed.step
                ) as place
                union all
                select
                    bound.texts[place],
                    greatest(1 - known.null_frac - common.share, 0.000001)
                    * bound.step / cardinality(bound.texts)
                from (
                    select
                        listed.texts,
                        greatest(cardinality(listed.texts) / 10, 1) as step
                    from (select known.histogram_bounds::text::text[] offset 0) as listed (texts)
                    offset 0
                ) as bound
                cross join lateral generate_series(1, cardinality(bound.texts), bound.step) as place
            ) as sample (value, weight)
            cross join lateral (
                select case
                    when form.is_bytea then (octet_length(sample.value) - 2) / 2
                    else octet_length(sample.value)
                end as bytes
            ) as stored
            cross join lateral (
                select case
                    when not form.is_numeric then null
                    when sample.value like '%.%' then
                        -- the two sides of the point are groups of their own
                        repeat('0', 4 * ceil(length(
                            ltrim(split_part(sample.value, '.', 1), '-0')
                        ) / 4.0)::integer)
                        || rtrim(split_part(sample.value, '.', 2), '0')
                    else regexp_replace(ltrim(sample.value, '-0'), '(0000)+$', '')
                end as significant
            ) as digits
            offset 0  -- or each length is computed for each of the sums
        ) as measured
    ) as lengths
        on form.is_text or form.is_numeric or form.is_bytea or form.is_name
    cross join lateral (
        select case
            when attribute.attlen > 0 and not form.is_name then 'fixed'
            when lengths.mean is null and known.avg_width < 24 then 'fixed'
            when lengths.variance = 0 and (
                form.is_name
                -- one more: nearly all are as long as those of the sample, and a few are shorter
                or round(lengths.mean) - known.avg_width in (0, 1)
            )
                then 'alike'
            when lengths.variance > 0 and (
                form.is_name
                or abs(lengths.mean - known.avg_width - 0.5) <= 1 + 0.1 * known.avg_width
            )
                then 'varied'
            else 'unknown'
        end as kind
    ) as shape
    where not known.inherited
      and known.schemaname not in ('pg_catalog', 'information_schema')
      and attribute.attnum > 0
      and not attribute.attisdropped;
$function$;

revoke all on function maintenance.column_widths() from public;

comment on function maintenance.column_widths() is
    'Return what statistics say of the lengths of each column''s values, as far as you may see.';
