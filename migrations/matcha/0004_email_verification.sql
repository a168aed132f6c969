-- Lets users prove that an email address is theirs.

alter table public.users add column email_verified boolean not null default false;

comment on column public.users.email_verified is
    'Whether the user has proved that the address is his.';

create table public.email_verification_tokens (
    id uuid constraint email_verification_tokens_pkey primary key default gen_random_uuid(),
    user_id uuid not null
        constraint email_verification_tokens_user_id_fkey
        references public.users (id) on delete cascade,
    token_hash text not null constraint email_verification_tokens_token_hash_key unique,
    expires_at timestamptz not null,
    used_at timestamptz,
    created_at timestamptz default now()
);

comment on table public.email_verification_tokens is
    'Secrets that prove that an email address is the user''s, once.';
comment on column public.email_verification_tokens.token_hash is
    'Hash of the secret that was sent.';
comment on column public.email_verification_tokens.expires_at is
    'From then on the token is no longer valid.';
comment on column public.email_verification_tokens.used_at is
    'When it was used, once and for all.';

select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.email_verification_tokens',
    name => 'idx_email_verification_tokens_user_id',
    keys => 'user_id',
    reason => 'Finds the tokens of a user; deleting a user deletes them.'
);

insert into maintenance.watched_token (token_type, relation, expires_column, used_column)
values ('email_verification', 'public.email_verification_tokens', 'expires_at', 'used_at');
