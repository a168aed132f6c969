-- Gives operators and monitors their rights on what was made again: access_rights says which.
--
-- Whoever lacks more than that was granted something by hand, or lacks it since an upgrade.
select format(
    'grant %%s on %%s %%s to %%s',
    listed.privilege,
    listed.kind,
    listed.name,
    case when held.role = 'public' then 'public' else quote_ident(held.role) end
)
from maintenance.access_rights() as listed
join maintenance.access as held
    on held.access in ('operator', listed.access)
    and listed.name = any (held.lacks)
where held.lacks <@ %(names)s::text[]
