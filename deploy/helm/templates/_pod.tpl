{{/* What holds for every pod: Pod Security's "restricted", and nothing of other Services in the environment, where a
Service named vault would set VAULT_PORT. */}}
{{- define "loaner.podDefaults" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "loaner.container" -}}
image: {{ include "loaner.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* The one place that can be written to, and the certificates that others are checked against. */}}
{{- define "loaner.volumes" -}}
- name: tmp
  emptyDir:
    medium: Memory
    sizeLimit: 64Mi
{{- with .Values.certificates.configMapName }}
- name: certificates
  configMap:
    name: {{ . }}
{{- end }}
{{- with .Values.certificates.secretName }}
- name: certificates
  secret:
    secretName: {{ . }}
    items:
      - {key: ca.crt, path: ca.crt}  # the authority's own key is often beside it
{{- end }}
{{- end -}}

{{- define "loaner.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if or .Values.certificates.configMapName .Values.certificates.secretName }}
- {name: certificates, mountPath: /etc/loaner/certificates, readOnly: true}
{{- end }}
{{- end -}}

{{/* A pod that does one thing and ends needs no more. */}}
{{- define "loaner.taskResources" -}}
requests: {cpu: 50m, memory: 128Mi}
limits: {memory: 256Mi}
{{- end -}}
