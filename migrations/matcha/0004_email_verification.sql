-- Lets users prove that an email address is theirs.

select maintenance.add_column(
    chain => 'matcha',
    relation => 'public.users',
    name => 'email_verified',
    definition => 'boolean not null default false',
    comment => 'Whether the user has proved that the address is his.'
);

select maintenance.adopt_table(
    chain => 'matcha',
    relation => 'public.email_verification_tokens',
    needs => array['user_id uuid', 'expires_at timestamptz', 'used_at timestamptz']
);

create table if not exists public.email_verification_tokens (
    id uuid constraint email_verification_tokens_pkey primary key default gen_random_uuid(),
    user_id uuid not null
        constraint email_verification_tokens_user_id_fkey
        references public.users (id) on delete cascade,
    token_hash text not null constraint email_verification_tokens_token_hash_key unique,
    expires_at timestamptz not null,
    used_at timestamptz,
    created_at timestamptz default now()
);

select maintenance.describe_table(
    'public.email_verification_tokens',
    'Secrets that prove that an email address is the user''s, once.'
);
select maintenance.describe_column(
    'public.email_verification_tokens', 'token_hash',
    'Hash of the secret that was sent.'
);
select maintenance.describe_column(
    'public.email_verification_tokens', 'expires_at',
    'From then on the token is no longer valid.'
);
select maintenance.describe_column(
    'public.email_verification_tokens', 'used_at',
    'When it was used, once and for all.'
);

select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.email_verification_tokens',
    name => 'idx_email_verification_tokens_user_id',
    keys => 'user_id',
    reason => 'Finds the tokens of a user; deleting a user deletes them.'
);

insert into maintenance.watched_token (token_type, relation, expires_column, used_column)
values ('email_verification', 'public.email_verification_tokens', 'expires_at', 'used_at');
