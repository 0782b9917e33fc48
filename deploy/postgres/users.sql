-- Who may do what in the ledger's database: one who owns the tables, one who reads, one who posts, and Vault, which makes
-- further ones that read or post. Run by a superuser in that database; safe to run again. Passwords come from files.
\set admin_pw `cat "${SECRETS_DIR:-/run/secrets}/psql_admin_pw"`
\set reading_pw `cat "${SECRETS_DIR:-/run/secrets}/psql_pw"`
\set posting_pw `cat "${SECRETS_DIR:-/run/secrets}/psql_posting_pw"`
\set vault_pw `cat "${SECRETS_DIR:-/run/secrets}/vault_psql_pw"`

SET log_statement = none; -- statements below hold passwords
SET log_min_error_statement = panic;
SET client_min_messages = warning;
BEGIN;
SELECT format('CREATE ROLE %I', name)
FROM unnest(ARRAY['loaner_reader', 'loaner_poster', 'loaner_owner', 'loaner', 'loaner_posting', 'vault']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE loaner_owner LOGIN PASSWORD :'admin_pw';
ALTER ROLE loaner LOGIN PASSWORD :'reading_pw';
ALTER ROLE loaner_posting LOGIN PASSWORD :'posting_pw';
ALTER ROLE vault LOGIN CREATEROLE PASSWORD :'vault_pw';
GRANT loaner_reader TO loaner;
GRANT loaner_poster TO loaner_posting;
GRANT loaner_reader, loaner_poster TO vault WITH ADMIN OPTION;
SELECT format('ALTER DATABASE %I OWNER TO loaner_owner', current_database()) \gexec
COMMIT;
