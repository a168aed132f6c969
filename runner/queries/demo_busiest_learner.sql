-- The learner with most decks that are due for a refresh, and how many they are.
select progress.user_id, count(*)
from public.user_deck_progress as progress
where progress.updated_at < now() - interval '1 hour'
group by progress.user_id
order by count(*) desc, progress.user_id
limit 1
