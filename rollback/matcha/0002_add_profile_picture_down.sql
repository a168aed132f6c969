-- Removes the pictures' addresses, which are lost.

select maintenance.give_back('matcha', 'column', 'public.users.profile_picture_url');
