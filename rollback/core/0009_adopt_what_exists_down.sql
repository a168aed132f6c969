-- Removes the notes of what applications' scripts found. They went with the applications.

drop function maintenance.give_back(text, text, text);
drop function maintenance.leave_object(text, text, text);
drop function maintenance.adopt_sweep(text, text, text);
drop function maintenance.withdraw_function(text, text);
drop function maintenance.keep_function(text, text);
drop function maintenance.adopt_function(text, text, text);
drop function maintenance.trigger_statements(oid);
drop function maintenance.function_rights(regprocedure);
drop function maintenance.describe_column(text, name, text);
drop function maintenance.describe_table(text, text);
drop function maintenance.add_column(text, text, name, text, text);
drop function maintenance.adopt_enum(text, text, text[], text, text);
drop function maintenance.adopt_table(text, text, text[]);
drop function maintenance.assert_member(oid, text);
drop function maintenance.assert_columns(regclass, text[]);
drop function maintenance.has_column(regclass, name);
drop function maintenance.is_created(text, text);
drop table maintenance.owned_object;
