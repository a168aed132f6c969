-- What the scripts of applications made or use outside schema maintenance.
select owned.kind, owned.name, owned.origin
from maintenance.owned_object as owned
order by owned.chain, owned.kind, owned.name
