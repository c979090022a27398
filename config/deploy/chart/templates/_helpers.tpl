{{- define "tidegate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains "tidegate" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-tidegate" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tidegate.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "tidegate.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{/* What is in no namespace has its own in its name, unless that says nothing more. */}}
{{- define "tidegate.clusterRoleName" -}}
{{- $name := include "tidegate.fullname" . -}}
{{- ternary $name (printf "%s-%s" $name .Release.Namespace) (eq $name .Release.Namespace) -}}
{{- end -}}

{{/* All shards, as JSON: one without a name where there are none. */}}
{{- define "tidegate.shards" -}}
{{- .Values.shards | default (list (dict "name" "")) | toJson -}}
{{- end -}}

{{/* What a shard's objects are called, and its Lease. Needs a list: the root, and the shard. */}}
{{- define "tidegate.shardName" -}}
{{- $root := index . 0 -}}
{{- $shard := index . 1 -}}
{{- list (include "tidegate.fullname" $root) $shard.name | compact | join "-" -}}
{{- end -}}

{{/* By which a shard's pods are selected. Needs the same list. */}}
{{- define "tidegate.selectorLabels" -}}
{{- $root := index . 0 -}}
{{- $shard := index . 1 -}}
app.kubernetes.io/name: tidegate
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- if $shard.name }}
tidegate.dev/shard: {{ $shard.name }}
{{- end }}
{{- end -}}

{{- define "tidegate.labels" -}}
{{- $root := index . 0 -}}
{{ include "tidegate.selectorLabels" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end -}}

{{/* Labels of what all shards share. */}}
{{- define "tidegate.commonLabels" -}}
{{- include "tidegate.labels" (list . (dict "name" "")) -}}
{{- end -}}

{{/* Where the Secret with what TLS takes is mounted, as the config says it. */}}
{{- define "tidegate.tls" -}}
{{- $at := "/etc/tidegate-xds" -}}
{{- dict "cert_file" (printf "%s/tls.crt" $at) "key_file" (printf "%s/tls.key" $at) "client_ca_file" (printf "%s/ca.crt" $at) | toJson -}}
{{- end -}}

{{/* A shard's config file. Needs the same list. */}}
{{- define "tidegate.config" -}}
{{- $root := index . 0 -}}
{{- $shard := index . 1 -}}
{{- $values := $root.Values -}}
{{- if hasKey $values.config "sources" -}}
{{- fail "config.sources: the chart makes the source of this cluster; say `namespaces` and `secretNamespaces`, and put further sources into `extraSources`" -}}
{{- end -}}
{{- $name := include "tidegate.shardName" . -}}
{{- $hosts := list $name (printf "%s.%s" $name $root.Release.Namespace) (printf "%s.%s.svc" $name $root.Release.Namespace) -}}
{{- $source := dict "name" "cluster" "kind" "kubernetes" "status" (dict "lease" (dict "name" $name)) -}}
{{- with $values.namespaces -}}
{{- $_ := set $source "namespaces" . -}}
{{- end -}}
{{- with $values.secretNamespaces -}}
{{- $_ := set $source "types" (list (dict "resource" "secrets" "namespaces" .)) -}}
{{- end -}}
{{- $gateway := dict -}}
{{- with get $shard "classes" -}}
{{- $_ := set $gateway "classes" . -}}
{{- end -}}
{{- with get $shard "selector" -}}
{{- $_ := set $gateway "selector" . -}}
{{- end -}}
{{- $config := dict
  "admin" (dict "address" (printf "0.0.0.0:%d" (int $values.service.adminPort)) "allowed_hosts" $hosts)
  "proxy" (dict "managed" false "bind" "0.0.0.0")
  "xds" (dict "address" (printf "0.0.0.0:%d" (int $values.service.xdsPort)) "tls" (include "tidegate.tls" . | fromJson) "clients" $values.xds.clients)
  "log" (dict "format" "json")
  "data_dir" "/var/lib/tidegate"
  "snapshot" (dict "max_size" "400MiB") -}}
{{- $config = mergeOverwrite $config (deepCopy $values.config) -}}
{{- if $gateway -}}
{{- $_ := set $config "gateway" (mergeOverwrite (deepCopy (get $config "gateway" | default dict)) $gateway) -}}
{{- end -}}
{{- $_ := set $config "sources" (concat (list $source) $values.extraSources) -}}
{{- toYaml $config -}}
{{- end -}}

{{/* Rules for what is in no namespace. */}}
{{- define "tidegate.clusterRules" -}}
- apiGroups: [gateway.networking.k8s.io]
  resources: [gatewayclasses]
  verbs: [list, watch, get]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gatewayclasses/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [list, watch]
- apiGroups: [apiregistration.k8s.io]
  resources: [apiservices]
  verbs: [list, watch]
{{/* For whatever is spoken of, GatewayClasses included, whose Events are in `default`; none is read. */ -}}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* Rules for what is in namespaces, apart from Secrets. */}}
{{- define "tidegate.namespaceRules" -}}
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways, httproutes]
  verbs: [list, watch, get]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways/status, httproutes/status]
  verbs: [patch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [referencegrants]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
{{- end -}}

{{- define "tidegate.secretRules" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [list, watch]
{{- end -}}

{{/* A Role and its binding. Needs a dict: root, name, namespace, rules as text. */}}
{{- define "tidegate.role" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "tidegate.commonLabels" .root | nindent 4 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "tidegate.commonLabels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "tidegate.serviceAccount" .root }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}
