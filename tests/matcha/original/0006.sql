-- A database of Matcha Time as its own migrations 0001 to 0006 leave it.
--
-- Names are unqualified and constraints unnamed, as there: PostgreSQL chooses the names. The one
-- difference is gen_random_uuid(), where the application needs an extension.

-- 0001

create type auth_provider as enum ('email', 'google');

create table users (
    id uuid primary key default gen_random_uuid(),
    username text unique not null,
    email text unique not null,
    password_hash text,
    google_id text unique,
    auth_provider auth_provider not null default 'email',
    created_at timestamptz default now(),
    constraint check_auth_credentials check (
        (auth_provider = 'email' and password_hash is not null)
        or (auth_provider = 'google' and google_id is not null)
    )
);

create index idx_users_google_id on users (google_id) where google_id is not null;

create table decks (
    id uuid primary key default gen_random_uuid(),
    title text not null,
    description text,
    language_from char(2) not null,
    language_to char(2) not null,
    created_at timestamptz default now()
);

create index idx_decks_langs on decks (language_from, language_to);

create table flashcards (
    id uuid primary key default gen_random_uuid(),
    term text not null,
    translation text not null,
    language_from char(2) not null,
    language_to char(2) not null,
    created_at timestamptz default now(),
    constraint unique_flashcard unique (term, translation, language_from, language_to)
);

create index idx_flashcards_lookup on flashcards (language_from, language_to, term);

create table deck_flashcards (
    deck_id uuid not null references decks (id) on delete cascade,
    flashcard_id uuid not null references flashcards (id),
    primary key (deck_id, flashcard_id)
);

create index idx_df_deck on deck_flashcards (deck_id) include (flashcard_id);

create table roadmaps (
    id uuid primary key default gen_random_uuid(),
    title text not null,
    description text,
    language_from char(2) not null,
    language_to char(2) not null,
    created_at timestamptz default now(),
    unique (language_from, language_to, title)
);

create index idx_roadmaps_langs on roadmaps (language_from, language_to);

create table roadmap_nodes (
    id uuid primary key default gen_random_uuid(),
    roadmap_id uuid not null references roadmaps (id) on delete cascade,
    deck_id uuid not null references decks (id),
    parent_node_id uuid references roadmap_nodes (id) on delete set null,
    pos_x int not null default 0,
    pos_y int not null default 0,
    created_at timestamptz default now()
);

create index idx_nodes_roadmap on roadmap_nodes (roadmap_id);

create table user_card_progress (
    user_id uuid not null references users (id) on delete cascade,
    flashcard_id uuid not null references flashcards (id) on delete cascade,
    next_review_at timestamptz not null default now(),
    last_review_at timestamptz,
    times_correct int not null default 0,
    times_wrong int not null default 0,
    mastered_at timestamptz,
    updated_at timestamptz default now(),
    primary key (user_id, flashcard_id)
);

create index idx_practice_session on user_card_progress (user_id, flashcard_id, next_review_at)
    include (times_correct, times_wrong, last_review_at);
create index idx_progress_user_mastered on user_card_progress (user_id)
    where mastered_at is not null;

create table user_deck_progress (
    user_id uuid not null references users (id) on delete cascade,
    deck_id uuid not null references decks (id) on delete cascade,
    total_cards int not null default 0,
    mastered_cards int not null default 0,
    cards_due_today int not null default 0,
    total_practices int not null default 0,
    last_practiced_at timestamptz,
    updated_at timestamptz default now(),
    primary key (user_id, deck_id)
);

create index idx_udp_user on user_deck_progress (user_id);

create table user_stats (
    user_id uuid primary key references users (id) on delete cascade,
    current_streak_days int not null default 0,
    longest_streak_days int not null default 0,
    total_reviews int not null default 0,
    total_cards_learned int not null default 0,
    last_review_date date,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);

create table user_activity (
    user_id uuid not null references users (id) on delete cascade,
    activity_date date not null,
    reviews_count int not null default 0,
    primary key (user_id, activity_date)
);

create index idx_activity_user_date on user_activity (user_id, activity_date desc);

create function refresh_deck_progress(p_user_id uuid, p_deck_id uuid) returns void as $$
begin
    insert into user_deck_progress (
        user_id, deck_id, total_cards, mastered_cards, cards_due_today, total_practices,
        last_practiced_at, updated_at
    )
    select
        p_user_id,
        p_deck_id,
        count(df.flashcard_id),
        count(ucp.mastered_at),
        count(*) filter (where ucp.next_review_at <= now()),
        coalesce(sum(ucp.times_correct + ucp.times_wrong), 0),
        max(ucp.last_review_at),
        now()
    from deck_flashcards df
    left join user_card_progress ucp
        on ucp.flashcard_id = df.flashcard_id and ucp.user_id = p_user_id
    where df.deck_id = p_deck_id
    on conflict (user_id, deck_id) do update set
        total_cards = excluded.total_cards,
        mastered_cards = excluded.mastered_cards,
        cards_due_today = excluded.cards_due_today,
        total_practices = excluded.total_practices,
        last_practiced_at = excluded.last_practiced_at,
        updated_at = now();
end;
$$ language plpgsql;

-- 0002

alter table users add column profile_picture_url text;

-- 0003

create table password_reset_tokens (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references users (id) on delete cascade,
    token_hash text unique not null,
    expires_at timestamptz not null,
    used_at timestamptz,
    created_at timestamptz default now()
);

-- 0004

alter table users add column email_verified boolean not null default false;

create table email_verification_tokens (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references users (id) on delete cascade,
    token_hash text unique not null,
    expires_at timestamptz not null,
    used_at timestamptz,
    created_at timestamptz default now()
);

-- 0005

create table refresh_tokens (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references users (id) on delete cascade,
    token_hash text unique not null,
    device_info text,
    ip_address text,
    expires_at timestamptz not null,
    created_at timestamptz default now(),
    last_used_at timestamptz default now()
);

create index idx_refresh_tokens_hash on refresh_tokens (token_hash);
create index idx_refresh_tokens_user on refresh_tokens (user_id);

-- 0006

create index idx_users_email on users (email);
create index idx_password_reset_tokens_user_id on password_reset_tokens (user_id);
create index idx_password_reset_tokens_expires_at on password_reset_tokens (expires_at)
    where used_at is null;
create index idx_email_verification_tokens_user_id on email_verification_tokens (user_id);
create index idx_email_verification_tokens_expires_at on email_verification_tokens (expires_at)
    where used_at is null;
create index idx_refresh_tokens_expires_at on refresh_tokens (expires_at);

create function cleanup_expired_password_reset_tokens() returns integer as $$
declare
    deleted integer;
begin
    delete from password_reset_tokens where expires_at < now() or used_at is not null;
    get diagnostics deleted = row_count;
    return deleted;
end;
$$ language plpgsql;

create function cleanup_expired_email_verification_tokens() returns integer as $$
declare
    deleted integer;
begin
    delete from email_verification_tokens where expires_at < now() or used_at is not null;
    get diagnostics deleted = row_count;
    return deleted;
end;
$$ language plpgsql;

create function cleanup_expired_refresh_tokens() returns integer as $$
declare
    deleted integer;
begin
    delete from refresh_tokens where expires_at < now();
    get diagnostics deleted = row_count;
    return deleted;
end;
$$ language plpgsql;

create function cleanup_all_expired_tokens() returns table (
    password_reset_cleaned integer,
    email_verification_cleaned integer,
    refresh_tokens_cleaned integer,
    total_cleaned integer
) as $$
declare
    reset_count integer;
    verification_count integer;
    refresh_count integer;
begin
    reset_count := cleanup_expired_password_reset_tokens();
    verification_count := cleanup_expired_email_verification_tokens();
    refresh_count := cleanup_expired_refresh_tokens();
    return query select
        reset_count, verification_count, refresh_count,
        reset_count + verification_count + refresh_count;
end;
$$ language plpgsql;

create function trigger_cleanup_expired_tokens() returns trigger as $$
begin
    if TG_TABLE_NAME = 'password_reset_tokens' then
        perform cleanup_expired_password_reset_tokens();
    elsif TG_TABLE_NAME = 'email_verification_tokens' then
        perform cleanup_expired_email_verification_tokens();
    elsif TG_TABLE_NAME = 'refresh_tokens' then
        perform cleanup_expired_refresh_tokens();
    end if;
    return null;
end;
$$ language plpgsql;

create trigger trigger_cleanup_password_reset_tokens
    after insert on password_reset_tokens
    for each statement execute function trigger_cleanup_expired_tokens();
create trigger trigger_cleanup_email_verification_tokens
    after insert on email_verification_tokens
    for each statement execute function trigger_cleanup_expired_tokens();
create trigger trigger_cleanup_refresh_tokens
    after insert on refresh_tokens
    for each statement execute function trigger_cleanup_expired_tokens();

create function refresh_stale_deck_progress(p_user_id uuid) returns integer as $$
declare
    stale record;
    refreshed integer;
begin
    for stale in
        select deck_id from user_deck_progress
        where user_id = p_user_id
          and (updated_at < now() - interval '1 hour' or updated_at is null)
    loop
        perform refresh_deck_progress(p_user_id, stale.deck_id);
    end loop;
    get diagnostics refreshed = row_count;
    return refreshed;
end;
$$ language plpgsql;

comment on function cleanup_expired_password_reset_tokens() is
    'Removes password reset tokens that expired or were used';
comment on function cleanup_expired_email_verification_tokens() is
    'Removes email verification tokens that expired or were used';
comment on function cleanup_expired_refresh_tokens() is
    'Removes refresh tokens that expired';
comment on function cleanup_all_expired_tokens() is
    'Removes useless tokens of all kinds and counts them';
comment on function refresh_stale_deck_progress(uuid) is
    'Adds up the decks of a user that nobody has added up for an hour';

-- The application's own ledger.

create table _sqlx_migrations (
    version bigint primary key,
    description text not null,
    installed_on timestamptz not null default now(),
    success boolean not null,
    checksum bytea not null,
    execution_time bigint not null
);

insert into _sqlx_migrations (version, description, success, checksum, execution_time) values
    (1, 'init', true, '\x01', 41000000),
    (2, 'add profile picture', true, '\x02', 1900000),
    (3, 'password reset tokens', true, '\x03', 5100000),
    (4, 'email verification', true, '\x04', 6200000),
    (5, 'refresh tokens', true, '\x05', 5400000),
    (6, 'performance and cleanup improvements', true, '\x06', 13000000);
