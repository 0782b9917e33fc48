{{/* A setting as a quoted string. JSON, because Go formats 64000000 as 6.4e+07. */}}
{{- define "loaner.text" -}}
{{- kindIs "string" . | ternary . (toJson .) | toJson -}}
{{- end -}}

{{/* Entries of `env`. Arguments: plain {NAME: value}, secret {NAME: {name, key}}. */}}
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

{{/* The settings of a map that a migration needs. */}}
{{- define "loaner.databaseOnly" -}}
{{- pick . "PSQL_HOST" "PSQL_PORT" "PSQL_DB" "PSQL_CONNECT_TIMEOUT_S" "LOG_LEVEL" | toJson -}}
{{- end -}}

{{/* Settings that the chart derives from other values. */}}
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

{{/* "true" if a setting is set, in settings or in secretSettings. Argument: [root, NAME] */}}
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

{{/* Checks across values, which the schema cannot express; without them, pods would fail at start-up. */}}
{{- define "loaner.check" -}}
{{- range $name, $_ := .Values.secretSettings -}}
{{- if hasKey $.Values.settings $name -}}
{{- fail (printf "settings.%s and secretSettings.%s are both set; set one of them to null" $name $name) -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := .Values.settings -}}
{{- if and (kindIs "string" $value) (regexMatch "^https?://[^/]*@" $value) -}}
{{- fail (printf "settings.%s contains a password: put the URL in a Secret and set secretSettings.%s" $name $name) -}}
{{- end -}}
{{- end -}}
{{- if not (include "loaner.has" (list . "PSQL_HOST")) -}}
{{- fail "settings.PSQL_HOST is required: the database servers" -}}
{{- end -}}
{{- if and (include "loaner.has" (list . "MEMCACHED_SERVERS")) (not (hasKey .Values.secretSettings "CACHE_SECRET")) -}}
{{- fail "secretSettings.CACHE_SECRET is required with settings.MEMCACHED_SERVERS" -}}
{{- end -}}
{{- $vault := include "loaner.logsInToVault" . -}}
{{- $automatic := not (hasKey .Values.settings "USE_VAULT") -}}
{{- if and $vault $automatic (hasKey .Values.secretSettings "PSQL_PW") -}}
{{- fail "secretSettings.PSQL_PW and a Vault login are both set: set PSQL_PW to null, or set settings.USE_VAULT" -}}
{{- end -}}
{{- if and (not $vault) $automatic (not (hasKey .Values.secretSettings "PSQL_PW")) -}}
{{- fail "secretSettings.PSQL_PW is required, or a Vault login such as settings.VAULT_KUBERNETES_ROLE" -}}
{{- end -}}
{{- if and .Values.certificates.configMapName .Values.certificates.secretName -}}
{{- fail "certificates.configMapName and certificates.secretName are both set; set only one of them" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.hosts is required with ingress.enabled" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (empty .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs is required with httpRoute.enabled" -}}
{{- end -}}
{{- end -}}
