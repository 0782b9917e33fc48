#!/bin/sh
# Sets Vault up for this service: credentials of the database that read or post, and an AppRole that may have them.
# Safe to run again. VAULT_ADDR: where Vault is; PSQL_HOST: where it finds the database. Secrets are files in SECRETS_DIR
# and handed on as such, so that no list of processes shows them.
set -eu
: "${VAULT_ADDR:?}" "${PSQL_HOST:?}"
here=$(dirname "$0")
secrets=${SECRETS_DIR:-/run/secrets}
VAULT_TOKEN=$(cat "$secrets/vault_root_token")
export VAULT_TOKEN

has() { # KIND PATH: whether something is mounted there
    vault "$1" list -format=json | grep -q "\"$2/\""
}
log_in() {
    vault write auth/approle/login role_id=loaner secret_id="@$secrets/vault_secret_id" >/dev/null
}

has secrets database || vault secrets enable database
vault write database/config/loaner plugin_name=postgresql-database-plugin allowed_roles=readonly,posting \
    connection_url="postgresql://{{username}}:{{password}}@$PSQL_HOST:${PSQL_PORT:-5432}/${PSQL_DB:-loaner}?sslmode=${PGSSLMODE:-disable}" \
    username=vault password="@$secrets/vault_psql_pw" password_authentication=scram-sha-256
for role in readonly posting; do
    vault write "database/roles/$role" db_name=loaner default_ttl=1h max_ttl=24h \
        creation_statements="@$here/$role.sql" revocation_statements="@$here/revoke.sql"
done

vault policy write loaner "$here/loaner.hcl"
has auth approle || vault auth enable approle
vault write auth/approle/role/loaner token_policies=loaner token_no_default_policy=true token_ttl=1h token_max_ttl=24h
vault write auth/approle/role/loaner/role-id role_id=loaner
# A secret id that is registered already cannot be registered again.
log_in 2>/dev/null || vault write auth/approle/role/loaner/custom-secret-id secret_id="@$secrets/vault_secret_id" >/dev/null
log_in
echo "Vault is set up"
