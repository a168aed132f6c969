-- Says as policies which tokens are of no more use, so that runs remove them batch by batch.
--
-- They remove what cleanup_expired_..._tokens() and the sweeps remove; a test compares them.
-- Users who never proved that their address is theirs go only where somebody switches that on: with
-- them goes whatever they have done.

select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.users',
    name => 'idx_users_unverified_created_at',
    keys => 'created_at',
    predicate => 'not email_verified',
    reason => 'Finds the users who never proved their address.'
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
select maintenance.register_policy(
    policy => 'unverified_users',
    relation => 'public.users',
    definition => '{
        "operation": "accounts",
        "is_enabled": false,
        "severity": "CRITICAL",
        "allow_cascade": true,
        "batch_size": 100,
        "guard_rows": 1000,
        "guard_share": 0.1,
        "retention": "7 days",
        "branches": [{"column": "created_at", "condition": "not email_verified"}],
        "max_silence": "2 days"
    }',
    chain => 'matcha'
);
