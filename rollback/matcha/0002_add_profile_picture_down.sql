-- Removes the pictures' addresses, which are lost.

alter table public.users drop column profile_picture_url;
