-- Computes how many items a page takes if they are put in one after the other, until the next one
-- would not fit: what a rewrite does.
--
-- With sizes all alike it is the whole number that fits. Otherwise it is the sum over k of the
-- probability that the first k fit, with their sum distributed normally (by the logistic function,
-- which stays within 0.01 of it). With many small items that is half an item less than the
-- quotient.

create or replace function maintenance.items_per_page(
    usable double precision, size double precision, variance double precision
)
returns double precision
language plpgsql
immutable
strict
parallel safe
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_items double precision := 0::double precision;
    v_deviation double precision;
begin
    if variance = 0 then
        return greatest(floor(usable / size), 1);
    elsif size * 50 < usable then
        return usable / size - 0.5;
    end if;

    for v_number in 1 .. ceil(2 * usable / size)::integer loop
        v_deviation := 1.702 * (usable - v_number * size) / sqrt(v_number * variance);
        v_items := v_items
            + 1 / (1 + exp(least(greatest(-v_deviation, -100::double precision), 100)));
    end loop;

    return greatest(v_items, 1);
end;
$function$;

revoke all on function maintenance.items_per_page(
    double precision, double precision, double precision
) from public;

comment on function maintenance.items_per_page(
    double precision, double precision, double precision
) is
    'Return how many items of an average size and variance fit into the usable bytes of a page.';
