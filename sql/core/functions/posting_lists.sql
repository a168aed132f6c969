-- Computes what a build of a btree index with deduplication makes of rows that share few keys: how
-- many items, and how many bytes they take on the leaf pages, with their pointers.
--
-- Source: "B-Tree Deduplication" in PostgreSQL's documentation. Equal keys are stored once, with a
-- list of the places of their rows, 6 bytes each; a build ends a list at a tenth of a page, and
-- the whole is aligned to 8 bytes: 3 more if the rows of a key vary, else what their number asks
-- for, so half of either. A key with one row has no list: between one and two rows to a key, the
-- share of each is what their average asks for.

create or replace function maintenance.posting_lists(
    rows double precision, keys double precision, key_size double precision
)
returns table (items double precision, bytes double precision)
language sql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $function$
    select
        each.items * posting_lists.keys,
        each.bytes * posting_lists.keys
    from (
        select
            posting_lists.rows / nullif(posting_lists.keys, 0),
            floor(
                (
                    (current_setting('block_size')::integer / 10 / 8 * 8 - 4) / 8 * 8
                    - posting_lists.key_size
                ) / 6
            )
    ) as list (rows, longest)
    cross join lateral (
        select
            (list.rows - floor(list.rows)) * (-6 * ceil(list.rows)::bigint & 7)
            + (floor(list.rows) + 1 - list.rows) * (-6 * floor(list.rows)::bigint & 7)
    ) as padding (bytes)
    cross join lateral (
        select
            case
                when list.rows <= 1 or list.longest < 2 then list.rows
                when list.rows <= list.longest then 1
                else list.rows / list.longest + 0.5
            end as items,
            case
                when list.rows <= 1 or list.longest < 2 then
                    list.rows * (posting_lists.key_size + 4)
                when list.rows < 2 then
                    (2 - list.rows) * (posting_lists.key_size + 4)
                    + (list.rows - 1) * (posting_lists.key_size + 20)
                when list.rows <= list.longest then
                    posting_lists.key_size + 4 + 6 * list.rows + (3 + padding.bytes) / 2
                else
                    6 * list.rows + (list.rows / list.longest + 0.5) * (posting_lists.key_size + 6)
            end as bytes
    ) as each
    where posting_lists.keys > 0;
$function$;

revoke all on function maintenance.posting_lists(
    double precision, double precision, double precision
) from public;

comment on function maintenance.posting_lists(
    double precision, double precision, double precision
) is
    'Return the items and bytes that a btree index with deduplication has for rows with few keys.';
