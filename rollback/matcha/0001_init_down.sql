-- Removes those tables of Matcha Time that were created here: EVERYTHING THAT ITS USERS HAVE EVER
-- DONE IS LOST with them. Tables that were there before stay as they are.

select maintenance.release_index('public.user_deck_progress', 'idx_udp_deck')
where maintenance.is_created(kind => 'table', name => 'public.user_deck_progress');
select maintenance.release_index('public.user_card_progress', 'idx_progress_flashcard')
where maintenance.is_created(kind => 'table', name => 'public.user_card_progress');
select maintenance.release_index('public.user_card_progress', 'idx_progress_user_mastered')
where maintenance.is_created(kind => 'table', name => 'public.user_card_progress');
select maintenance.release_index('public.user_card_progress', 'idx_practice_session')
where maintenance.is_created(kind => 'table', name => 'public.user_card_progress');
select maintenance.release_index('public.roadmap_nodes', 'idx_nodes_parent')
where maintenance.is_created(kind => 'table', name => 'public.roadmap_nodes');
select maintenance.release_index('public.roadmap_nodes', 'idx_nodes_deck')
where maintenance.is_created(kind => 'table', name => 'public.roadmap_nodes');
select maintenance.release_index('public.roadmap_nodes', 'idx_nodes_roadmap')
where maintenance.is_created(kind => 'table', name => 'public.roadmap_nodes');
select maintenance.release_index('public.deck_flashcards', 'idx_deck_flashcards_flashcard')
where maintenance.is_created(kind => 'table', name => 'public.deck_flashcards');
select maintenance.release_index('public.flashcards', 'idx_flashcards_lookup')
where maintenance.is_created(kind => 'table', name => 'public.flashcards');
select maintenance.release_index('public.decks', 'idx_decks_langs')
where maintenance.is_created(kind => 'table', name => 'public.decks');

select maintenance.give_back('matcha', 'table', 'public.user_activity');
select maintenance.give_back('matcha', 'table', 'public.user_stats');
select maintenance.give_back('matcha', 'table', 'public.user_deck_progress');
select maintenance.give_back('matcha', 'table', 'public.user_card_progress');
select maintenance.give_back('matcha', 'table', 'public.roadmap_nodes');
select maintenance.give_back('matcha', 'table', 'public.roadmaps');
select maintenance.give_back('matcha', 'table', 'public.deck_flashcards');
select maintenance.give_back('matcha', 'table', 'public.flashcards');
select maintenance.give_back('matcha', 'table', 'public.decks');
select maintenance.give_back('matcha', 'table', 'public.users');
select maintenance.give_back('matcha', 'type', 'public.auth_provider');
