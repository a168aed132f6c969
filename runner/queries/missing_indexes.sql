select
    missing.relation::text as table,
    missing.name::text,
    missing.is_concurrent,
    missing.built_by,
    missing.drop_statement,
    missing.create_statement,
    missing.comment_statement
from maintenance.missing_indexes as missing
where missing.chain = any (%(chains)s)
