-- Builds the indexes that the scripts above have declared.
do $build$
declare
    v_missing record;
begin
    for v_missing in select * from maintenance.missing_indexes loop
        execute v_missing.create_statement;
        execute v_missing.comment_statement;
    end loop;
end;
$build$;
