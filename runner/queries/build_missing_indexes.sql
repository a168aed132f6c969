-- Builds the indexes that the scripts above have declared.
--
-- Within a transaction they cannot be built CONCURRENTLY: where tables are large already, writers
-- wait. Then leave this block out, and afterwards execute, one at a time and outside any
-- transaction, the statements that maintenance.missing_indexes lists, until it lists none.
do $build$
declare
    v_missing record;
    v_statement text;
begin
    loop
        select * into v_missing from maintenance.missing_indexes limit 1;
        exit when not found or v_missing.built_by is not null;

        foreach v_statement in array array_remove(array[
            v_missing.drop_statement, v_missing.create_statement, v_missing.comment_statement
        ], null) loop
            execute regexp_replace(v_statement, '^(\w+( unique)? index) concurrently', '\1');
        end loop;
    end loop;
end;
$build$;
