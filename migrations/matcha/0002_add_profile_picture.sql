-- Lets users have a picture.

alter table public.users add column profile_picture_url text;

comment on column public.users.profile_picture_url is 'Where the picture of the user is.';
