-- Fires once per statement, however many tokens it inserts.

create or replace trigger trigger_cleanup_refresh_tokens
after insert on public.refresh_tokens
referencing new table as inserted
for each statement
execute function maintenance.sweep_refresh_tokens();

comment on trigger trigger_cleanup_refresh_tokens on public.refresh_tokens is
    'Sweep refresh tokens of no more use; see maintenance.set_insert_sweep.';
