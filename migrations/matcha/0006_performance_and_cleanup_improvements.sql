-- Cleans up tokens that are of no use any more, whenever new ones arrive and whenever asked,
-- and keeps the dashboards' figures right.
--
-- The policies say which tokens those are, for runs and for sweeps alike; a test compares them with
-- what cleanup_expired_..._tokens() remove.
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

select maintenance.register_policy(
    policy => 'password_reset_tokens',
    relation => 'public.password_reset_tokens',
    definition => '{
        "operation": "tokens",
        "branches": [
            {"column": "expires_at", "condition": "used_at is null"},
            {"key": "used_at", "condition": "used_at is not null"}
        ],
        "max_silence": "2 days"
    }',
    chain => 'matcha'
);
select maintenance.register_policy(
    policy => 'email_verification_tokens',
    relation => 'public.email_verification_tokens',
    definition => '{
        "operation": "tokens",
        "branches": [
            {"column": "expires_at", "condition": "used_at is null"},
            {"key": "used_at", "condition": "used_at is not null"}
        ],
        "max_silence": "2 days"
    }',
    chain => 'matcha'
);
select maintenance.register_policy(
    policy => 'refresh_tokens',
    relation => 'public.refresh_tokens',
    definition => '{
        "operation": "tokens",
        "column": "expires_at",
        "max_silence": "2 days"
    }',
    chain => 'matcha'
);
select maintenance.attach_insert_sweep('password_reset_tokens');
select maintenance.attach_insert_sweep('email_verification_tokens');
select maintenance.attach_insert_sweep('refresh_tokens');
