-- Remembers which chains this database wants, so that an interrupted migrate goes on with them.
insert into maintenance.chain (name)
select wanted.name from unnest(%(names)s::text[]) as wanted (name)
on conflict (name) do nothing
