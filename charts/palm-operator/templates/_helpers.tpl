{{- define "palm-operator.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Cluster-wide names: two releases in two namespaces do not meet. */}}
{{- define "palm-operator.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "palm-operator.fullname" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "palm-operator.selectorLabels" -}}
app.kubernetes.io/name: palm-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "palm-operator.labels" -}}
{{ include "palm-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: palm-operator
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "palm-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "palm-operator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* repository@digest, else repository:tag, else repository:chart version */}}
{{- define "palm-operator.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .version .image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "palm-operator.gatewayName" -}}
{{- printf "%s-gateway" (include "palm-operator.fullname" . | trunc 55 | trimSuffix "-") -}}
{{- end -}}

{{/* Where users reach it: what is said, else the Service's name inside the cluster. */}}
{{- define "palm-operator.gatewayUrl" -}}
{{- $scheme := ternary "https" "http" (ne .Values.gateway.tlsSecret "") -}}
{{- $port := .Values.gateway.service.port | int -}}
{{- $shown := ternary "" (printf ":%d" $port) (eq $port (ternary 443 80 (eq $scheme "https"))) -}}
{{- default (printf "%s://%s.%s.svc%s" $scheme (include "palm-operator.gatewayName" .) .Release.Namespace $shown) .Values.gateway.url -}}
{{- end -}}

{{/* Another name label: the operator's selectors must not find the gateway. */}}
{{- define "palm-operator.gatewaySelectorLabels" -}}
app.kubernetes.io/name: palm-gateway
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "palm-operator.gatewayLabels" -}}
{{ include "palm-operator.gatewaySelectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: palm-operator
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{/* What the operator may do where it looks after Portfolios. No Secrets, no logs, no wildcards:
Pods get their Secrets by name from the kubelet, which asks nothing of the operator. */}}
{{- define "palm-operator.rules" -}}
# What the user asks for, and the answer.
- apiGroups: [palm-operator.dev]
  resources: [portfolios]
  # patch: the finalizer of those with retentionPolicy Delete.
  verbs: [get, list, watch, patch]
- apiGroups: [palm-operator.dev]
  resources: [portfolios/status]
  verbs: [get, patch, update]
# Owner references with blockOwnerDeletion need it where that admission plugin is on.
- apiGroups: [palm-operator.dev]
  resources: [portfolios/finalizers]
  verbs: [update]
# Oracle calls: made, suspended, resumed and removed; else never changed.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
# The same on several nodes; without JobSet there is nothing to see.
- apiGroups: [jobset.x-k8s.io]
  resources: [jobsets]
  verbs: [get, list, watch, create, patch, delete]
# What Kueue queues is suspended through its Workload.
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [list, patch]
# Why a Job failed, and whether a policy's Pods are those of now: statuses, not logs.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# Why a queued Job waits; without Kueue there is nothing to see.
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [get, list]
# Published policies: server-side apply is create and patch.
- apiGroups: [serving.kserve.io]
  resources: [inferenceservices, llminferenceservices]
  verbs: [get, list, watch, create, patch, delete]
# Route tables: server-side apply is create and patch; the one that is there is compared first.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, patch]
# What a person wants to know; and why a Job's Pods are refused, which only its Events say.
- apiGroups: [""]
  resources: [events]
  verbs: [list, create, patch]
{{- end -}}

{{/* Fails where another release holds the object: (list root object). */}}
{{- define "palm-operator.sole" -}}
{{- $root := first . -}}
{{- $found := default dict (last .) -}}
{{- $notes := dig "metadata" "annotations" dict $found -}}
{{- $name := get $notes "meta.helm.sh/release-name" -}}
{{- $namespace := get $notes "meta.helm.sh/release-namespace" -}}
{{- if and $name (or (ne $name $root.Release.Name) (ne $namespace $root.Release.Namespace)) -}}
{{- $class := ternary (printf "of operatorClass %q" $root.Values.operatorClass) "without operatorClass" (ne $root.Values.operatorClass "") -}}
{{- $where := ternary (printf "namespace %s" (dig "metadata" "namespace" "" $found)) "every namespace" (hasKey $found.metadata "namespace") -}}
{{- fail (printf "release %s in namespace %s looks after the Portfolios %s in %s already, and two operators would undo each other's work: give this release another operatorClass, and the Portfolios that it is for" $name $namespace $class $where) -}}
{{- end -}}
{{- end -}}

{{- define "palm-operator.subject" -}}
- kind: ServiceAccount
  name: {{ include "palm-operator.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
