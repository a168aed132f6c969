select missing.name, missing.create_statement, missing.comment_statement
from maintenance.missing_indexes as missing
where missing.chain = any (%(chains)s)
