{{/* The values with what stands under "pilot" laid over them. */}}
{{- define "values" -}}
{{- mergeOverwrite (omit (deepCopy .Values) "pilot") (deepCopy .Values.pilot) | toYaml -}}
{{- end }}

{{/* "-REVISION" for names, nothing without a revision. */}}
{{- define "suffix" -}}
{{- with .Values.revision }}-{{ . }}{{ end -}}
{{- end }}

{{- define "name" -}}
istiod{{ include "suffix" . }}
{{- end }}

{{- define "tag" -}}
{{- $values := include "values" . | fromYaml -}}
{{- $values.tag | default .Values.global.tag | default .Chart.AppVersion -}}
{{- end }}

{{- define "image" -}}
{{- $values := include "values" . | fromYaml -}}
{{- if contains "/" $values.image -}}
{{ $values.image }}
{{- else -}}
{{ $values.hub | default .Values.global.hub }}/{{ $values.image }}:{{ include "tag" . }}
{{- end -}}
{{- end }}

{{/* Labels of every object. */}}
{{- define "labels" -}}
app: istiod
istio.io/rev: {{ .Values.revision | default "default" | quote }}
release: {{ .Release.Name }}
app.kubernetes.io/name: istiod
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/part-of: weft
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* What selects the pods. As in Istio, the default control plane never matches the pods of a revision. */}}
{{- define "selector" -}}
app: istiod
{{- if .Values.revision }}
istio.io/rev: {{ .Values.revision | quote }}
{{- else }}
istio: pilot
{{- end }}
{{- end }}

{{- define "ports" -}}
- {name: https-dns, port: 15012, protocol: TCP}
- {name: https-webhook, port: 443, targetPort: 15017, protocol: TCP}
- {name: http-monitoring, port: 15014, protocol: TCP}
{{- end }}

{{- define "serviceSpec" -}}
{{- $values := include "values" . | fromYaml -}}
ports:
{{ include "ports" . }}
selector:
{{- include "selector" . | nindent 2 }}
{{- with $values.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with $values.ipFamilies }}
ipFamilies: {{ toJson . }}
{{- end }}
{{- with $values.trafficDistribution }}
trafficDistribution: {{ . }}
{{- end }}
{{- end }}
