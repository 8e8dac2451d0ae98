{{- define "tensorhost.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tensorhost.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tensorhost.labels" -}}
{{ include "tensorhost.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "tensorhost.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "tensorhost.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "tensorhost.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- /* Settings as environment variables. A few have no prefix, as in settings.py; whole numbers stay whole. */ -}}
{{- define "tensorhost.environment" -}}
{{- $bare := list "max_batch_size" "warmup_iterations" "log_level" -}}
HOST: "0.0.0.0"
PORT: "3000"
TENSORHOST_GRPC_PORT: "8500"
MODEL_PATH: /models
TENSORHOST_CACHE_DIR: /cache/tensorhost
{{- range $key, $value := .Values.settings }}
{{- if not (kindIs "invalid" $value) }}
{{ ternary "" "TENSORHOST_" (has $key $bare) }}{{ upper $key }}: {{ if and (kindIs "float64" $value) (eq (floor $value) $value) }}{{ int64 $value | toString | quote }}{{ else }}{{ toString $value | quote }}{{ end }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* Longest a stop can take: a process that hangs is ended 15 s after both times, and 5 s are to spare. */ -}}
{{- define "tensorhost.gracePeriodSeconds" -}}
{{- addf (.Values.settings.drain_window_s | default 1) (.Values.settings.shutdown_timeout_s | default 30) 20 | ceil | int64 -}}
{{- end -}}

{{- define "tensorhost.containerSecurityContext" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}
