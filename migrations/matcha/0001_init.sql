-- Creates Matcha Time's users, decks, flashcards and the progress that users make.

create type public.auth_provider as enum ('email', 'google');

comment on type public.auth_provider is 'How a user signs in.';

create table public.users (
    id uuid constraint users_pkey primary key default gen_random_uuid(),
    username text not null constraint users_username_key unique,
    email text not null constraint users_email_key unique,
    password_hash text,
    google_id text constraint users_google_id_key unique,
    auth_provider public.auth_provider not null default 'email',
    created_at timestamptz default now(),
    -- a user can prove who he is in the way that auth_provider says
    constraint check_auth_credentials check (
        case auth_provider
            when 'email' then password_hash is not null
            when 'google' then google_id is not null
        end
    )
);

comment on table public.users is 'People who learn.';

create table public.decks (
    id uuid constraint decks_pkey primary key default gen_random_uuid(),
    title text not null,
    description text,
    language_from text not null,
    language_to text not null,
    created_at timestamptz default now()
);

comment on table public.decks is 'Sets of flashcards that are learnt together.';

create table public.flashcards (
    id uuid constraint flashcards_pkey primary key default gen_random_uuid(),
    term text not null,
    translation text not null,
    language_from text not null,
    language_to text not null,
    created_at timestamptz default now(),
    constraint unique_flashcard unique (term, translation, language_from, language_to)
);

comment on table public.flashcards is 'A term and what it means in another language.';

create table public.deck_flashcards (
    deck_id uuid not null
        constraint deck_flashcards_deck_id_fkey references public.decks (id) on delete cascade,
    flashcard_id uuid not null
        constraint deck_flashcards_flashcard_id_fkey references public.flashcards (id),
    constraint deck_flashcards_pkey primary key (deck_id, flashcard_id)
);

comment on table public.deck_flashcards is 'Which flashcards a deck consists of.';

create table public.roadmaps (
    id uuid constraint roadmaps_pkey primary key default gen_random_uuid(),
    title text not null,
    description text,
    language_from text not null,
    language_to text not null,
    created_at timestamptz default now(),
    constraint roadmaps_language_from_language_to_title_key
        unique (language_from, language_to, title)
);

comment on table public.roadmaps is
    'Courses through decks; their titles are unique for a pair of languages.';

create table public.roadmap_nodes (
    id uuid constraint roadmap_nodes_pkey primary key default gen_random_uuid(),
    roadmap_id uuid not null
        constraint roadmap_nodes_roadmap_id_fkey references public.roadmaps (id) on delete cascade,
    deck_id uuid not null
        constraint roadmap_nodes_deck_id_fkey references public.decks (id),
    parent_node_id uuid
        constraint roadmap_nodes_parent_node_id_fkey
        references public.roadmap_nodes (id) on delete set null,
    pos_x integer not null default 0,
    pos_y integer not null default 0,
    created_at timestamptz default now()
);

comment on table public.roadmap_nodes is
    'Steps of a roadmap: a deck, the step before it, and where it is drawn.';

create table public.user_card_progress (
    user_id uuid not null
        constraint user_card_progress_user_id_fkey references public.users (id) on delete cascade,
    flashcard_id uuid not null
        constraint user_card_progress_flashcard_id_fkey
        references public.flashcards (id) on delete cascade,
    next_review_at timestamptz not null default now(),
    last_review_at timestamptz,
    times_correct integer not null default 0,
    times_wrong integer not null default 0,
    mastered_at timestamptz,
    updated_at timestamptz default now(),
    constraint user_card_progress_pkey primary key (user_id, flashcard_id)
);

comment on table public.user_card_progress is 'What a user knows about one flashcard.';

create table public.user_deck_progress (
    user_id uuid not null
        constraint user_deck_progress_user_id_fkey references public.users (id) on delete cascade,
    deck_id uuid not null
        constraint user_deck_progress_deck_id_fkey references public.decks (id) on delete cascade,
    total_cards integer not null default 0,
    mastered_cards integer not null default 0,
    cards_due_today integer not null default 0,
    total_practices integer not null default 0,
    last_practiced_at timestamptz,
    updated_at timestamptz default now(),
    constraint user_deck_progress_pkey primary key (user_id, deck_id)
);

comment on table public.user_deck_progress is
    'A user''s progress through a deck, added up from user_card_progress for the dashboard.';
comment on column public.user_deck_progress.updated_at is
    'When a figure last changed. After an hour, or when null, the row may be stale.';

create table public.user_stats (
    user_id uuid constraint user_stats_pkey primary key
        constraint user_stats_user_id_fkey references public.users (id) on delete cascade,
    current_streak_days integer not null default 0,
    longest_streak_days integer not null default 0,
    total_reviews integer not null default 0,
    total_cards_learned integer not null default 0,
    last_review_date date,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);

comment on table public.user_stats is 'Figures of a user''s profile page.';

create table public.user_activity (
    user_id uuid not null
        constraint user_activity_user_id_fkey references public.users (id) on delete cascade,
    activity_date date not null,
    reviews_count integer not null default 0,
    constraint user_activity_pkey primary key (user_id, activity_date)
);

comment on table public.user_activity is 'How much a user practised on a day.';

-- What a unique constraint or a primary key begins with needs no index of its own: roadmaps of a
-- pair of languages, cards of a deck, decks of a user, days of a user.

select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.decks',
    name => 'idx_decks_langs',
    keys => 'language_from, language_to',
    reason => 'Finds the decks of a pair of languages.'
);
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.flashcards',
    name => 'idx_flashcards_lookup',
    keys => 'language_from, language_to, term',
    reason => 'Finds a flashcard before it is created twice.'
);
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.deck_flashcards',
    name => 'idx_deck_flashcards_flashcard',
    keys => 'flashcard_id',
    reason => 'Finds the decks of a flashcard; deleting a flashcard looks for them.'
);
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.roadmap_nodes',
    name => 'idx_nodes_roadmap',
    keys => 'roadmap_id',
    reason => 'Finds the nodes of a roadmap; deleting a roadmap deletes them.'
);
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.roadmap_nodes',
    name => 'idx_nodes_deck',
    keys => 'deck_id',
    reason => 'Finds the nodes that teach a deck; deleting a deck looks for them.'
);
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.roadmap_nodes',
    name => 'idx_nodes_parent',
    keys => 'parent_node_id',
    predicate => 'parent_node_id is not null',
    reason => 'Finds the nodes that follow one; deleting a node detaches them.'
);
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.user_card_progress',
    name => 'idx_practice_session',
    keys => 'user_id, flashcard_id, next_review_at',
    included => 'times_correct, times_wrong, last_review_at, mastered_at',
    reason => 'Answers a practice session, and adds up a deck, without reading the table.'
);
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.user_card_progress',
    name => 'idx_progress_user_mastered',
    keys => 'user_id',
    predicate => 'mastered_at is not null',
    reason => 'Counts the cards that a user has mastered.'
);
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.user_card_progress',
    name => 'idx_progress_flashcard',
    keys => 'flashcard_id',
    reason => 'Finds the progress on a flashcard; deleting a flashcard deletes it.'
);
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.user_deck_progress',
    name => 'idx_udp_deck',
    keys => 'deck_id',
    reason => 'Finds the progress through a deck; deleting a deck deletes it.'
);
