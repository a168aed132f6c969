-- Lets users have a picture.

select maintenance.add_column(
    chain => 'matcha',
    relation => 'public.users',
    name => 'profile_picture_url',
    definition => 'text',
    comment => 'Where the picture of the user is.'
);
