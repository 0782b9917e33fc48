# All that the service asks of Vault: credentials for its database, and to keep them and give them back.
path "database/creds/readonly" {
  capabilities = ["read"]
}
path "database/creds/posting" {
  capabilities = ["read"]
}
path "sys/leases/renew" {
  capabilities = ["update"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
