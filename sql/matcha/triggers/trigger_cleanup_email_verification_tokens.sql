-- Fires once per statement, however many tokens it inserts.

create or replace trigger trigger_cleanup_email_verification_tokens
after insert on public.email_verification_tokens
referencing new table as inserted
for each statement
execute function maintenance.sweep_email_verification_tokens();

comment on trigger trigger_cleanup_email_verification_tokens on public.email_verification_tokens is
    'Sweep email verification tokens of no more use; see maintenance.set_insert_sweep.';
