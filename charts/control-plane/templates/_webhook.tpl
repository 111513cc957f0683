{{/*
The webhooks of one MutatingWebhookConfiguration, with Istio's selectors.
  Root       the chart's scope
  Revision   the value of istio.io/rev that selects this control plane
  IsDefault  whether istio-injection=enabled and sidecar.istio.io/inject=true select it as well
A label of the namespace wins over one of the pod, and istio-injection over istio.io/rev.
*/}}
{{- define "injectionWebhooks" -}}
{{- $notDisabled := list (dict "key" "sidecar.istio.io/inject" "operator" "NotIn" "values" (list "false")) }}
{{- $revision := dict "key" "istio.io/rev" "operator" "In" "values" (list .Revision) }}
{{- $noRevision := dict "key" "istio.io/rev" "operator" "DoesNotExist" }}
{{- $noInjection := dict "key" "istio-injection" "operator" "DoesNotExist" }}
{{- include "injectionWebhook" (dict "Root" .Root "Prefix" "rev.namespace."
      "Namespace" (list $revision $noInjection) "Object" $notDisabled) }}
{{- include "injectionWebhook" (dict "Root" .Root "Prefix" "rev.object."
      "Namespace" (list $noRevision $noInjection) "Object" (append $notDisabled $revision)) }}
{{- if .IsDefault }}
{{- include "injectionWebhook" (dict "Root" .Root "Prefix" "namespace."
      "Namespace" (list (dict "key" "istio-injection" "operator" "In" "values" (list "enabled")))
      "Object" $notDisabled) }}
{{- include "injectionWebhook" (dict "Root" .Root "Prefix" "object."
      "Namespace" (list $noInjection $noRevision)
      "Object" (list (dict "key" "sidecar.istio.io/inject" "operator" "In" "values" (list "true")) $noRevision)) }}
{{- if .Root.Values.sidecarInjectorWebhook.enableNamespacesByDefault }}
{{- $system := list "kube-system" "kube-public" "kube-node-lease" "local-path-storage" }}
{{- include "injectionWebhook" (dict "Root" .Root "Prefix" "auto."
      "Namespace" (list $noInjection $noRevision
        (dict "key" "kubernetes.io/metadata.name" "operator" "NotIn" "values" $system))
      "Object" (list (dict "key" "sidecar.istio.io/inject" "operator" "DoesNotExist") $noRevision)) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "injectionWebhook" }}
- name: {{ .Prefix }}sidecar-injector.istio.io
  clientConfig:
    service:
      name: {{ include "name" .Root }}
      namespace: {{ .Root.Release.Namespace | quote }}
      path: /inject
      port: 443
  rules:
  - operations: [CREATE]
    apiGroups: [""]
    apiVersions: [v1]
    resources: [pods]
  namespaceSelector:
    matchExpressions:
    {{- toYaml .Namespace | nindent 4 }}
  objectSelector:
    matchExpressions:
    {{- toYaml .Object | nindent 4 }}
  # A pod that should be in the mesh must not run outside of it.
  failurePolicy: Fail
  reinvocationPolicy: {{ .Root.Values.sidecarInjectorWebhook.reinvocationPolicy }}
  sideEffects: None
  admissionReviewVersions: [v1]
{{- end }}
