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

-- Ours adds deck progress up in the columns that the application had when it began. Since it counts
-- progress_percentage as well, it has a function of its own, which stays and is what
-- refresh_stale_deck_progress calls.
select maintenance.assert_columns(
    'public.user_deck_progress',
    array[
        'total_cards integer', 'mastered_cards integer', 'cards_due_today integer',
        'total_practices integer', 'last_practiced_at timestamptz'
    ]
)
where not maintenance.has_column('public.user_deck_progress', 'progress_percentage');

select maintenance.adopt_function('matcha', function.signature, function.result)
from (
    values
        ('public.cleanup_expired_password_reset_tokens()', 'integer'),
        ('public.cleanup_expired_email_verification_tokens()', 'integer'),
        ('public.cleanup_expired_refresh_tokens()', 'integer'),
        (
            'public.cleanup_all_expired_tokens()',
            'TABLE(password_reset_cleaned integer, email_verification_cleaned integer, '
                || 'refresh_tokens_cleaned integer, total_cleaned integer)'
        ),
        ('public.refresh_deck_progress(uuid,uuid)', 'void'),
        ('public.refresh_stale_deck_progress(uuid)', 'integer')
) as function (signature, result);

\ir ../../sql/matcha/functions/cleanup_expired_password_reset_tokens.sql
\ir ../../sql/matcha/functions/cleanup_expired_email_verification_tokens.sql
\ir ../../sql/matcha/functions/cleanup_expired_refresh_tokens.sql
\ir ../../sql/matcha/functions/cleanup_all_expired_tokens.sql
\ir ../../sql/matcha/functions/refresh_deck_progress.sql
\ir ../../sql/matcha/functions/refresh_stale_deck_progress.sql

select maintenance.keep_function('matcha', 'public.refresh_deck_progress(uuid,uuid)')
where maintenance.has_column('public.user_deck_progress', 'progress_percentage')
  and to_regprocedure('public.refresh_deck_progress(uuid,uuid,integer)') is null;

-- A third argument that has a default answers calls with two as well: beside it, the function with
-- two makes each of them ambiguous.
select maintenance.withdraw_function('matcha', 'public.refresh_deck_progress(uuid,uuid)')
where to_regprocedure('public.refresh_deck_progress(uuid,uuid,integer)') is not null;

\ir ../../sql/matcha/procedures/refresh_stale_progress.sql
\ir ../../sql/matcha/functions/find_stale_progress.sql
\ir ../../sql/matcha/views/stale_progress.sql

select maintenance.offer_statements(
    operation => 'progress',
    source => 'maintenance.stale_progress',
    chain => 'matcha'
);

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

select maintenance.adopt_sweep(
    chain => 'matcha',
    policy => tended.policy,
    calls => 'public.trigger_cleanup_expired_tokens()'
)
from unnest(
    array['password_reset_tokens', 'email_verification_tokens', 'refresh_tokens']
) as tended (policy);
