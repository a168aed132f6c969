-- Fires once per statement, however many tokens it inserts.

create or replace trigger trigger_cleanup_password_reset_tokens
after insert on public.password_reset_tokens
referencing new table as inserted
for each statement
execute function maintenance.sweep_password_reset_tokens();

comment on trigger trigger_cleanup_password_reset_tokens on public.password_reset_tokens is
    'Sweep password reset tokens of no more use; see maintenance.set_insert_sweep.';
