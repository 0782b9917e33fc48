{{/* Common to all pods: the "restricted" Pod Security Standard, and no service links, because a Service named vault would
set VAULT_PORT. */}}
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

{{/* The only writable directory, and the CA certificates. */}}
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
      - {key: ca.crt, path: ca.crt}  # the Secret often has the CA's private key too
{{- end }}
{{- end -}}

{{- define "loaner.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if or .Values.certificates.configMapName .Values.certificates.secretName }}
- {name: certificates, mountPath: /etc/loaner/certificates, readOnly: true}
{{- end }}
{{- end -}}

{{/* Resources of pods that run a single task. */}}
{{- define "loaner.taskResources" -}}
requests: {cpu: 50m, memory: 128Mi}
limits: {memory: 256Mi}
{{- end -}}
