#!/bin/sh
# Configures Vault for this service: database roles that read and post, and an AppRole that may use them. Idempotent.
# VAULT_ADDR: address of Vault. PSQL_HOST: address of the database as Vault reaches it. Secrets are files in
# SECRETS_DIR and are passed to Vault as files, so that they never appear in a process list.
set -eu
: "${VAULT_ADDR:?}" "${PSQL_HOST:?}"
here=$(dirname "$0")
secrets=${SECRETS_DIR:-/run/secrets}
VAULT_TOKEN=$(cat "$secrets/vault_root_token")
export VAULT_TOKEN

has() { # KIND PATH: succeeds if something is mounted at PATH
    vault "$1" list -format=json | grep -q "\"$2/\""
}
log_in() {
    vault write auth/approle/login role_id=loaner secret_id="@$secrets/vault_secret_id" >/dev/null
}

has secrets database || vault secrets enable database
vault write database/config/loaner plugin_name=postgresql-database-plugin allowed_roles=readonly,posting,admin \
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
# Vault refuses to register the same secret id twice.
log_in 2>/dev/null || vault write auth/approle/role/loaner/custom-secret-id secret_id="@$secrets/vault_secret_id" >/dev/null
log_in
echo "Vault is configured"
