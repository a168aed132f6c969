-- Creates Matcha Time's users, decks, flashcards and the progress that users make.
--
-- What is there is used as it is: the columns that maintenance needs are asked for, and no other.

select maintenance.adopt_table(
    chain => 'matcha',
    relation => 'public.users',
    needs => array['id uuid', 'created_at timestamptz', 'email_verified boolean']
);

select maintenance.adopt_enum(
    chain => 'matcha',
    name => 'public.auth_provider',
    labels => array['email', 'google'],
    used_by => 'public.users',
    comment => 'How a user signs in.'
);

create table if not exists public.users (
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

select maintenance.describe_table('public.users', 'People who learn.');

select maintenance.adopt_table(
    chain => 'matcha',
    relation => 'public.decks',
    needs => array['id uuid']
);

create table if not exists public.decks (
    id uuid constraint decks_pkey primary key default gen_random_uuid(),
    title text not null,
    description text,
    language_from text not null,
    language_to text not null,
    created_at timestamptz default now()
);

select maintenance.describe_table('public.decks', 'Sets of flashcards that are learnt together.');

select maintenance.adopt_table(
    chain => 'matcha',
    relation => 'public.flashcards',
    needs => array['id uuid']
);

create table if not exists public.flashcards (
    id uuid constraint flashcards_pkey primary key default gen_random_uuid(),
    term text not null,
    translation text not null,
    language_from text not null,
    language_to text not null,
    created_at timestamptz default now(),
    constraint unique_flashcard unique (term, translation, language_from, language_to)
);

select maintenance.describe_table(
    'public.flashcards',
    'A term and what it means in another language.'
);

select maintenance.adopt_table(
    chain => 'matcha',
    relation => 'public.deck_flashcards',
    needs => array['deck_id uuid', 'flashcard_id uuid']
);

create table if not exists public.deck_flashcards (
    deck_id uuid not null
        constraint deck_flashcards_deck_id_fkey references public.decks (id) on delete cascade,
    flashcard_id uuid not null
        constraint deck_flashcards_flashcard_id_fkey references public.flashcards (id),
    constraint deck_flashcards_pkey primary key (deck_id, flashcard_id)
);

select maintenance.describe_table('public.deck_flashcards', 'Which flashcards a deck consists of.');

select maintenance.adopt_table(
    chain => 'matcha',
    relation => 'public.roadmaps',
    needs => array['id uuid']
);

create table if not exists public.roadmaps (
    id uuid constraint roadmaps_pkey primary key default gen_random_uuid(),
    title text not null,
    description text,
    language_from text not null,
    language_to text not null,
    created_at timestamptz default now(),
    constraint roadmaps_language_from_language_to_title_key
        unique (language_from, language_to, title)
);

select maintenance.describe_table(
    'public.roadmaps',
    'Courses through decks; their titles are unique for a pair of languages.'
);

select maintenance.adopt_table(
    chain => 'matcha',
    relation => 'public.roadmap_nodes',
    needs => array['id uuid', 'deck_id uuid']
);

create table if not exists public.roadmap_nodes (
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

select maintenance.describe_table(
    'public.roadmap_nodes',
    'Steps of a roadmap: a deck, the step before it, and where it is drawn.'
);

select maintenance.adopt_table(
    chain => 'matcha',
    relation => 'public.user_card_progress',
    needs => array[
        'user_id uuid', 'flashcard_id uuid', 'next_review_at timestamptz',
        'last_review_at timestamptz', 'times_correct integer', 'times_wrong integer',
        'mastered_at timestamptz'
    ]
);

create table if not exists public.user_card_progress (
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

select maintenance.describe_table(
    'public.user_card_progress',
    'What a user knows about one flashcard.'
);

select maintenance.adopt_table(
    chain => 'matcha',
    relation => 'public.user_deck_progress',
    needs => array['user_id uuid', 'deck_id uuid', 'updated_at timestamptz']
);

create table if not exists public.user_deck_progress (
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

select maintenance.describe_table(
    'public.user_deck_progress',
    'A user''s progress through a deck, added up from user_card_progress for the dashboard.'
);
select maintenance.describe_column(
    'public.user_deck_progress', 'updated_at',
    'When a figure last changed. After an hour, or when null, the row may be stale.'
);

select maintenance.adopt_table(
    chain => 'matcha',
    relation => 'public.user_stats',
    needs => array['user_id uuid']
);

create table if not exists public.user_stats (
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

select maintenance.describe_table('public.user_stats', 'Figures of a user''s profile page.');

select maintenance.adopt_table(
    chain => 'matcha',
    relation => 'public.user_activity',
    needs => array['user_id uuid', 'activity_date date']
);

create table if not exists public.user_activity (
    user_id uuid not null
        constraint user_activity_user_id_fkey references public.users (id) on delete cascade,
    activity_date date not null,
    reviews_count integer not null default 0,
    constraint user_activity_pkey primary key (user_id, activity_date)
);

select maintenance.describe_table('public.user_activity', 'How much a user practised on a day.');

-- These serve the application: a table that was there keeps the indexes that it has. What a unique
-- constraint or a primary key begins with needs no index of its own: roadmaps of a pair of
-- languages, cards of a deck, decks of a user, days of a user.

select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.decks',
    name => 'idx_decks_langs',
    keys => 'language_from, language_to',
    reason => 'Finds the decks of a pair of languages.'
)
where maintenance.is_created(kind => 'table', name => 'public.decks');
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.flashcards',
    name => 'idx_flashcards_lookup',
    keys => 'language_from, language_to, term',
    reason => 'Finds a flashcard before it is created twice.'
)
where maintenance.is_created(kind => 'table', name => 'public.flashcards');
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.deck_flashcards',
    name => 'idx_deck_flashcards_flashcard',
    keys => 'flashcard_id',
    reason => 'Finds the decks of a flashcard; deleting a flashcard looks for them.'
)
where maintenance.is_created(kind => 'table', name => 'public.deck_flashcards');
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.roadmap_nodes',
    name => 'idx_nodes_roadmap',
    keys => 'roadmap_id',
    reason => 'Finds the nodes of a roadmap; deleting a roadmap deletes them.'
)
where maintenance.is_created(kind => 'table', name => 'public.roadmap_nodes');
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.roadmap_nodes',
    name => 'idx_nodes_deck',
    keys => 'deck_id',
    reason => 'Finds the nodes that teach a deck; deleting a deck looks for them.'
)
where maintenance.is_created(kind => 'table', name => 'public.roadmap_nodes');
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.roadmap_nodes',
    name => 'idx_nodes_parent',
    keys => 'parent_node_id',
    predicate => 'parent_node_id is not null',
    reason => 'Finds the nodes that follow one; deleting a node detaches them.'
)
where maintenance.is_created(kind => 'table', name => 'public.roadmap_nodes');
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.user_card_progress',
    name => 'idx_practice_session',
    keys => 'user_id, flashcard_id, next_review_at',
    included => 'times_correct, times_wrong, last_review_at, mastered_at',
    reason => 'Answers a practice session, and adds up a deck, without reading the table.'
)
where maintenance.is_created(kind => 'table', name => 'public.user_card_progress');
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.user_card_progress',
    name => 'idx_progress_user_mastered',
    keys => 'user_id',
    predicate => 'mastered_at is not null',
    reason => 'Counts the cards that a user has mastered.'
)
where maintenance.is_created(kind => 'table', name => 'public.user_card_progress');
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.user_card_progress',
    name => 'idx_progress_flashcard',
    keys => 'flashcard_id',
    reason => 'Finds the progress on a flashcard; deleting a flashcard deletes it.'
)
where maintenance.is_created(kind => 'table', name => 'public.user_card_progress');
select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.user_deck_progress',
    name => 'idx_udp_deck',
    keys => 'deck_id',
    reason => 'Finds the progress through a deck; deleting a deck deletes it.'
)
where maintenance.is_created(kind => 'table', name => 'public.user_deck_progress');
