{{/* Policies apply to the ports of pods, after a Service's port has been translated. Where the two differ, set
networkPolicy.to. */}}

{{- define "loaner.egressToDns" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}

{{/* An egress rule. Argument: [{peers, ports} of networkPolicy.to, the ports in the settings as JSON] */}}
{{- define "loaner.egress" -}}
{{- $to := index . 0 -}}
- ports:
    {{- range $to.ports | default (index . 1 | fromJsonArray) }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with $to.peers }}
  to: {{ toJson . }}
  {{- end }}
{{- end -}}

{{/* Port of a URL. Argument: [URL, default port] */}}
{{- define "loaner.portOfUrl" -}}
{{- regexFind ":[0-9]+$" (urlParse (index . 0)).host | trimPrefix ":" | default (index . 1) -}}
{{- end -}}

{{- define "loaner.gatewayPorts" -}}
{{- $ports := list -}}
{{- $admin := .Values.settings.API_GATEWAY_URL | default "http://:8001" -}}
{{- range list $admin .Values.settings.GATEWAY_PROXY_URL | compact -}}
{{- $ports = append $ports (include "loaner.portOfUrl" (list . (hasPrefix "https:" . | ternary 443 80)) | int) -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}

{{/* Ports of hosts, as JSON. Argument: [comma-separated hosts, default port] */}}
{{- define "loaner.portsOfHosts" -}}
{{- $default := index . 1 -}}
{{- $ports := list -}}
{{- range splitList "," (index . 0) -}}
{{- $names := regexMatch `^(\[.+\]|[^:]+):[0-9]+$` (trim .) -}}
{{- $ports = append $ports (int (ternary (splitList ":" . | last) $default $names)) -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}

{{- define "loaner.databasePorts" -}}
{{- $default := .Values.settings.PSQL_PORT | default 5432 -}}
{{- include "loaner.portsOfHosts" (list (.Values.settings.PSQL_HOST | default "") $default) -}}
{{- end -}}

{{- define "loaner.vaultPorts" -}}
{{- $port := .Values.settings.VAULT_PORT | default 8200 -}}
{{- include "loaner.portOfUrl" (list (.Values.settings.VAULT_ADDR | default "") $port) | int | list | toJson -}}
{{- end -}}
