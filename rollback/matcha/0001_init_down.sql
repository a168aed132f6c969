-- Removes Matcha Time's tables. EVERYTHING THAT ITS USERS HAVE EVER DONE IS LOST.

select maintenance.release_index('public.user_deck_progress', 'idx_udp_deck');
select maintenance.release_index('public.user_card_progress', 'idx_progress_flashcard');
select maintenance.release_index('public.user_card_progress', 'idx_progress_user_mastered');
select maintenance.release_index('public.user_card_progress', 'idx_practice_session');
select maintenance.release_index('public.roadmap_nodes', 'idx_nodes_parent');
select maintenance.release_index('public.roadmap_nodes', 'idx_nodes_deck');
select maintenance.release_index('public.roadmap_nodes', 'idx_nodes_roadmap');
select maintenance.release_index('public.deck_flashcards', 'idx_deck_flashcards_flashcard');
select maintenance.release_index('public.flashcards', 'idx_flashcards_lookup');
select maintenance.release_index('public.decks', 'idx_decks_langs');

drop table public.user_activity;
drop table public.user_stats;
drop table public.user_deck_progress;
drop table public.user_card_progress;
drop table public.roadmap_nodes;
drop table public.roadmaps;
drop table public.deck_flashcards;
drop table public.flashcards;
drop table public.decks;
drop table public.users;
drop type public.auth_provider;
