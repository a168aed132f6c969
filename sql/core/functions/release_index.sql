-- Takes back a declaration, and the index with it if that is ours.
--
-- Ours is what bears our comment, or what was noted before the runner began to build it; never what
-- was there when the chain declared the index. The comment is the mark because whoever builds by
-- \gexec leaves it too, and it survives dump and restore. So an index of the application's own that
-- does the same stays, and so does one that somebody built from our statement but left without the
-- comment: to drop another's index is worse than to leave one of ours.
--
-- There may be none: scripts that psql ran are often rolled back before anybody built it.

create or replace function maintenance.release_index(relation regclass, name name)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_declared maintenance.required_index;
    v_tables oid[];
    v_index regclass;
    v_reason text;
    v_statement text;
    v_statements text[];
begin
    delete from maintenance.required_index as declared
    where declared.relation = release_index.relation
      and declared.name = release_index.name
    returning declared.* into v_declared;

    if not found then
        raise exception using
            errcode = 'undefined_object',
            message = format(
                'no chain declared index %I on %s',
                release_index.name,
                release_index.relation
            ),
            hint = 'The declared indexes are the rows of maintenance.required_index.';
    end if;

    v_tables := array(
        select release_index.relation::oid
        union
        select tree.relid::oid
        from pg_catalog.pg_partition_tree(release_index.relation) as tree
    );

    for v_index in
        select class.oid::regclass
        from pg_catalog.pg_index as built
        join pg_catalog.pg_class as class on class.oid = built.indexrelid
        where built.indrelid = any (v_tables)
          and not class.relispartition  -- such a one goes with its parent
          and format('%s.%I', class.relnamespace::regnamespace, class.relname)
              <> all (v_declared.found)
          and case
              when maintenance.index_definition(class.oid) = v_declared.definition then
                  obj_description(class.oid, 'pg_class') = v_declared.reason
                  or exists (
                      select
                      from maintenance.index_build as noted
                      where noted.relation = built.indrelid
                        and noted.name = class.relname
                  )
              -- the same in the words of another major version
              else class.relname = v_declared.name
                  and obj_description(class.oid, 'pg_class') = v_declared.reason
          end
    loop
        select other.reason
        into v_reason
        from maintenance.required_index as other
        where other.relation = release_index.relation
          and other.definition = v_declared.definition
          and other.is_unique <= v_declared.is_unique
        order by other.name
        limit 1;

        if found then
            -- another chain still needs it
            execute format('comment on index %s is %L', v_index, v_reason);
            continue;
        end if;

        -- The index of a partitioned table took over those that its partitions had, and would take
        -- them along: they are made again as they were.
        v_statements := array(
            select unnest(array[
                pg_get_indexdef(child.oid),
                format(
                    'comment on index %s.%I is %L',
                    child.relnamespace::regnamespace, child.relname,
                    obj_description(child.oid, 'pg_class')
                )
            ])
            from pg_catalog.pg_partition_tree(v_index) as tree
            join pg_catalog.pg_class as child on child.oid = tree.relid
            where format('%s.%I', child.relnamespace::regnamespace, child.relname)
                = any (v_declared.found)
        );
        execute format('drop index %s', v_index);
        foreach v_statement in array v_statements loop
            execute v_statement;
        end loop;
    end loop;

    delete from maintenance.index_build as noted
    where noted.relation = any (v_tables)
      and not exists (
          select
          from pg_catalog.pg_class as class
          join pg_catalog.pg_index as built on built.indexrelid = class.oid
          where built.indrelid = noted.relation
            and class.relname = noted.name
      );
end;
$function$;

revoke all on function maintenance.release_index(regclass, name) from public;

comment on function maintenance.release_index(regclass, name) is
    'Take back the declaration of an index, and drop the index unless it is the application''s.';
