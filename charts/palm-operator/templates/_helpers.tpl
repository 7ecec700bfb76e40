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
