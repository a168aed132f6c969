-- The chains that were asked for in this database, also where not all of their scripts ran yet.
select chain.name from maintenance.chain as chain order by chain.chosen_at, chain.name
