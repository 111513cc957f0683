{{/* As in Istio there is one for a cluster, whatever the release is called. */}}
{{- define "name" -}}
weft-cni
{{- end }}

{{- define "labels" -}}
app.kubernetes.io/name: {{ include "name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/part-of: weft
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "image" -}}
{{- if contains "/" .Values.image -}}
{{ .Values.image }}
{{- else -}}
{{ .Values.hub | default .Values.global.hub }}/{{ .Values.image }}:{{ .Values.tag | default .Values.global.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* What is done about pods that started without capture: the first of the three. */}}
{{- define "repair" -}}
{{- with .Values.repair -}}
{{- if not .enabled -}}
{{- else if .repairPods -}} repair
{{- else if .deletePods -}} delete
{{- else if .labelPods -}} label
{{- end -}}
{{- end -}}
{{- end }}
