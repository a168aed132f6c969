-- A token that had expired before it was made: the trigger removes it with its INSERT.
insert into public.refresh_tokens (user_id, token_hash, expires_at)
select users.id, 'dead on arrival', now() - interval '1 second' from public.users limit 1
returning id
