-- Users of the ledger's database: the owner of the tables, a reader, a poster, and Vault, which creates more readers
-- and posters. Run as a superuser in that database. Idempotent. Passwords are read from files.
\set admin_pw `cat "${SECRETS_DIR:-/run/secrets}/psql_admin_pw"`
\set reading_pw `cat "${SECRETS_DIR:-/run/secrets}/psql_pw"`
\set posting_pw `cat "${SECRETS_DIR:-/run/secrets}/psql_posting_pw"`
\set vault_pw `cat "${SECRETS_DIR:-/run/secrets}/vault_psql_pw"`

SET log_statement = none; -- the statements below contain passwords
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
