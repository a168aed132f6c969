-- Removes the declarations. The indexes went with the chains that had declared them.

drop view maintenance.missing_indexes;
drop function maintenance.release_index(regclass, name);
drop function maintenance.require_index(
    text, regclass, name, text, text, text, text, boolean
);
drop function maintenance.note_index_build(regclass, name);
drop function maintenance.free_index_name(regclass, name, text);
drop function maintenance.equivalent_indexes(regclass, text, boolean);
drop function maintenance.index_definition(regclass);
drop table maintenance.index_build;
drop table maintenance.required_index;
