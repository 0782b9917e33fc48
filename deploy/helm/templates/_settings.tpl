{{/* A setting as the environment carries it. JSON writes numbers out; Go would make 64000000 into 6.4e+07. */}}
{{- define "loaner.text" -}}
{{- kindIs "string" . | ternary . (toJson .) | toJson -}}
{{- end -}}

{{/* A list of `env`. plain: {NAME: value}; secret: {NAME: {name, key}}. */}}
{{- define "loaner.env" -}}
{{- range $name, $value := .plain -}}
- name: {{ $name }}
  value: {{ include "loaner.text" $value }}
{{ end -}}
{{- range $name, $reference := .secret -}}
- name: {{ $name }}
  valueFrom:
    secretKeyRef: {{ toJson $reference }}
{{ end -}}
{{- end -}}

{{/* Of a map of settings those that reach the database's tables. */}}
{{- define "loaner.databaseOnly" -}}
{{- pick . "PSQL_HOST" "PSQL_PORT" "PSQL_DB" "PSQL_CONNECT_TIMEOUT_S" "LOG_LEVEL" | toJson -}}
{{- end -}}

{{/* The settings that follow from how the chart is set up. */}}
{{- define "loaner.derivedSettings" -}}
KEYS_DIR: /run/secrets/microkubes
{{- if .Values.clients.secretName }}
CLIENTS_FILE: /run/secrets/loaner/clients.json
{{- end }}
{{- if kindIs "slice" .Values.gatewayPlugins }}
GATEWAY_PLUGINS: /etc/loaner/plugins/plugins.json
{{- end }}
{{- if .Values.tls.secretName }}
TLS_CERT: /run/secrets/tls/tls.crt
TLS_KEY: /run/secrets/tls/tls.key
{{- end }}
SERVICE_DISCOVERY: {{ has .Values.discovery (list "upstream" "none") | ternary .Values.discovery "consul" }}
{{- if not (hasKey .Values.settings "SERVICE_HOST") }}
{{- if eq .Values.discovery "service" }}
SERVICE_HOST: {{ include "loaner.host" . }}
{{- else if has .Values.discovery (list "consul" "agent") }}
SERVICE_HOST: {{ .Values.settings.SERVICE_NAME }}.service.consul
{{- end }}
{{- end }}
{{- end -}}

{{/* "true" if a setting has a value, wherever it comes from. of: [root, NAME] */}}
{{- define "loaner.has" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- if or (hasKey $root.Values.settings $name) (hasKey $root.Values.secretSettings $name) }}true{{ end -}}
{{- end -}}

{{- define "loaner.logsInToVault" -}}
{{- range list "VAULT_KUBERNETES_ROLE" "VAULT_ROLE_ID" "VAULT_TOKEN" "VAULT_TOKEN_FILE" -}}
{{- include "loaner.has" (list $ .) -}}
{{- end -}}
{{- end -}}

{{/* What no schema can tell, and the service only when it starts. */}}
{{- define "loaner.check" -}}
{{- range $name, $_ := .Values.secretSettings -}}
{{- if hasKey $.Values.settings $name -}}
{{- fail (printf "settings.%s and secretSettings.%s are both set; set one of them to null" $name $name) -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := .Values.settings -}}
{{- if and (kindIs "string" $value) (regexMatch "^https?://[^/]*@" $value) -}}
{{- fail (printf "settings.%s has a password in it: have it come from a Secret, by secretSettings.%s" $name $name) -}}
{{- end -}}
{{- end -}}
{{- if not (include "loaner.has" (list . "PSQL_HOST")) -}}
{{- fail "settings.PSQL_HOST is needed: the servers of the database" -}}
{{- end -}}
{{- if and (include "loaner.has" (list . "MEMCACHED_SERVERS")) (not (hasKey .Values.secretSettings "CACHE_SECRET")) -}}
{{- fail "secretSettings.CACHE_SECRET is needed with settings.MEMCACHED_SERVERS" -}}
{{- end -}}
{{- $vault := include "loaner.logsInToVault" . -}}
{{- $unsaid := not (hasKey .Values.settings "USE_VAULT") -}}
{{- if and $vault $unsaid (hasKey .Values.secretSettings "PSQL_PW") -}}
{{- fail "secretSettings.PSQL_PW and a way to log in to Vault are set: make PSQL_PW null, or set settings.USE_VAULT" -}}
{{- end -}}
{{- if and (not $vault) $unsaid (not (hasKey .Values.secretSettings "PSQL_PW")) -}}
{{- fail "secretSettings.PSQL_PW is needed, or a way to log in to Vault, such as settings.VAULT_KUBERNETES_ROLE" -}}
{{- end -}}
{{- if and .Values.certificates.configMapName .Values.certificates.secretName -}}
{{- fail "certificates.configMapName and certificates.secretName are both set; one of them is mounted" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.hosts is needed with ingress.enabled" -}}
{{- end -}}
{{- end -}}
