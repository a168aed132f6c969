-- Removes the declarations. The indexes went with the chains that had declared them.

drop view maintenance.missing_indexes;
drop function maintenance.release_index(regclass, name);
drop function maintenance.require_index(
    text, regclass, name, text, text, text, text, boolean
);
drop table maintenance.required_index;
