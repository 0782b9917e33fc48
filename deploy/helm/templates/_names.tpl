{{- define "loaner.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $full | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels that stay the same for the life of a release, for selectors. */}}
{{- define "loaner.selector" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Selects the pods that serve, but not the migration and the test. */}}
{{- define "loaner.servingSelector" -}}
{{ include "loaner.selector" . }}
app.kubernetes.io/component: service
{{- end -}}

{{- define "loaner.labels" -}}
{{ include "loaner.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
platform: microkubes
{{- end -}}

{{- define "loaner.serviceAccountName" -}}
{{- $default := .Values.serviceAccount.create | ternary (include "loaner.fullname" .) "default" -}}
{{- .Values.serviceAccount.name | default $default -}}
{{- end -}}

{{- define "loaner.image" -}}
{{- with .Values.image -}}
{{- .repository -}}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* Host name of the Service within the cluster. */}}
{{- define "loaner.host" -}}
{{ include "loaner.fullname" . }}.{{ .Release.Namespace }}.svc
{{- end -}}

{{- define "loaner.scheme" -}}
{{ ternary "https" "http" (ne .Values.tls.secretName "") }}
{{- end -}}
