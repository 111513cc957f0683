{{- define "name" -}}
{{- .Values.name | default .Release.Name -}}
{{- end }}

{{/* What Gateways select by. */}}
{{- define "selector" -}}
app: {{ .Values.labels.app | default (include "name" .) | quote }}
istio: {{ .Values.labels.istio | default (include "name" . | trimPrefix "istio-") | quote }}
{{- end }}

{{- define "labels" -}}
{{ include "selector" . }}
{{- with omit .Values.labels "app" "istio" }}
{{ toYaml . }}
{{- end }}
app.kubernetes.io/name: {{ include "name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/part-of: weft
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Name, namespace, labels and annotations of every object. */}}
{{- define "metadata" -}}
name: {{ include "name" . }}
namespace: {{ .Release.Namespace | quote }}
labels:
  {{- include "labels" . | nindent 2 }}
{{- with .Values.annotations }}
annotations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "name" .) "default" .Values.serviceAccount.create) -}}
{{- end }}
