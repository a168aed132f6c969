-- Cleans up tokens that are of no use any more, whenever new ones arrive and whenever asked,
-- and keeps the dashboards' figures right.
--
-- Clean-up has an index for each reason why a token goes. A token that is both used and expired
-- is found as used, so the index on expires_at has to hold unused ones only.

select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.password_reset_tokens',
    name => 'idx_password_reset_tokens_expires_at',
    keys => 'expires_at',
    predicate => 'used_at is null',
    reason => 'Finds the unused tokens that have expired.'
);
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.password_reset_tokens',
    name => 'idx_password_reset_tokens_used_at',
    keys => 'used_at',
    predicate => 'used_at is not null',
    reason => 'Finds the tokens that were used.'
);
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.email_verification_tokens',
    name => 'idx_email_verification_tokens_expires_at',
    keys => 'expires_at',
    predicate => 'used_at is null',
    reason => 'Finds the unused tokens that have expired.'
);
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.email_verification_tokens',
    name => 'idx_email_verification_tokens_used_at',
    keys => 'used_at',
    predicate => 'used_at is not null',
    reason => 'Finds the tokens that were used.'
);
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.refresh_tokens',
    name => 'idx_refresh_tokens_expires_at',
    keys => 'expires_at',
    reason => 'Finds the tokens that have expired.'
);

\ir ../../sql/matcha/functions/cleanup_expired_password_reset_tokens.sql
\ir ../../sql/matcha/functions/cleanup_expired_email_verification_tokens.sql
\ir ../../sql/matcha/functions/cleanup_expired_refresh_tokens.sql
\ir ../../sql/matcha/functions/cleanup_all_expired_tokens.sql
\ir ../../sql/matcha/functions/refresh_deck_progress.sql
\ir ../../sql/matcha/functions/refresh_stale_deck_progress.sql

insert into maintenance.insert_sweep (relation)
values
    ('public.password_reset_tokens'),
    ('public.email_verification_tokens'),
    ('public.refresh_tokens');

\ir ../../sql/matcha/functions/sweep_password_reset_tokens.sql
\ir ../../sql/matcha/functions/sweep_email_verification_tokens.sql
\ir ../../sql/matcha/functions/sweep_refresh_tokens.sql
\ir ../../sql/matcha/triggers/trigger_cleanup_password_reset_tokens.sql
\ir ../../sql/matcha/triggers/trigger_cleanup_email_verification_tokens.sql
\ir ../../sql/matcha/triggers/trigger_cleanup_refresh_tokens.sql
