{{/* The chart's name, as a label. */}}
{{- define "tally.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* What names of the release begin with. Room is left for what they end with. */}}
{{- define "tally.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $full | trunc 30 | trimSuffix "-" -}}
{{- end -}}

{{- define "tally.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "tally.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* Labels by which a part's pods are found; they never change. Of: root, component, ingestor (its name, or nothing). */}}
{{- define "tally.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tally.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- with .ingestor }}
ingestor: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "tally.labels" -}}
{{ include "tally.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The text of a setting's value. Not by printing it: a large number would get an exponent. */}}
{{- define "tally.text" -}}
{{- if kindIs "string" . -}}{{- . -}}{{- else -}}{{- toJson . -}}{{- end -}}
{{- end -}}

{{/* A value of env, in quotes. Kubernetes puts a variable in the place of $(NAME), and one dollar in that of two. */}}
{{- define "tally.value" -}}
{{- include "tally.text" . | replace "$" "$$" | quote -}}
{{- end -}}

{{/* The ingestors as JSON, each over the defaults, with what was found in its sources: `ports`, and whether it `listens`. */}}
{{- define "tally.ingestors" -}}
{{- $all := list -}}
{{- $names := list -}}
{{- range .Values.ingestors -}}
{{- if has .name $names -}}
{{- fail (printf "ingestors: two are named %s; what one of them has read would be the other's" .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- $ingestor := mergeOverwrite (deepCopy $.Values.ingestorDefaults) (deepCopy .) -}}
{{- $ports := list -}}
{{- $listens := true -}}
{{- range .sources -}}
{{- if regexMatch "^(tcp|tls|https?)://" . -}}
{{- $scheme := regexFind "^[a-z]+" . -}}
{{- $port := regexFind ":[0-9]+$" (trimSuffix "/" .) | trimPrefix ":" -}}
{{- if not $port -}}
{{- fail (printf "the source %s names no port; right is %s://0.0.0.0:9000" . $scheme) -}}
{{- end -}}
{{- if regexMatch "^[a-z]+://(localhost|127\\.|\\[::1\\])" . -}}
{{- fail (printf "the source %s listens on loopback, where nothing outside of its pod reaches it; right is %s://0.0.0.0:%s" . $scheme $port) -}}
{{- end -}}
{{- $ports = append $ports (dict "scheme" $scheme "port" (int $port) "name" (printf "%s-%s" $scheme $port)) -}}
{{- else if not (hasPrefix "unix:" .) -}}
{{- $listens = false -}}
{{- end -}}
{{- end -}}
{{- if and (not $listens) (gt (int $ingestor.replicas) 1) -}}
{{- fail (printf "ingestor %s: it reads what is not sent to it, so it has to be one; several would read the same" .name) -}}
{{- end -}}
{{- $all = append $all (merge (dict "ports" $ports "listens" $listens) $ingestor) -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{/* Where the URL of Redis is for a service, as JSON with name and key of a Secret. Of: root, component. */}}
{{- define "tally.redisSecret" -}}
{{- $redis := .root.Values.redis -}}
{{- if $redis.existingSecret -}}
{{- dict "name" $redis.existingSecret "key" (get $redis.existingSecretKeys .component) | toJson -}}
{{- else if $redis.url -}}
{{- dict "name" (include "tally.fullname" .root) "key" "redis-url" | toJson -}}
{{- else -}}
{{- fail "where is Redis? Set redis.existingSecret to a Secret whose key redis-url holds its URL, or redis.url" -}}
{{- end -}}
{{- end -}}

{{/* Where a token is, likewise; {} without one. Of: root, part (the values of a service), key (in the release's Secret). */}}
{{- define "tally.tokenSecret" -}}
{{- if .part.existingTokenSecret.name -}}
{{- toJson .part.existingTokenSecret -}}
{{- else if .part.token -}}
{{- dict "name" (include "tally.fullname" .root) "key" .key | toJson -}}
{{- else -}}
{}
{{- end -}}
{{- end -}}

{{/* What the release's own Secret holds, as JSON. */}}
{{- define "tally.secrets" -}}
{{- $found := dict -}}
{{- if and .Values.redis.url (not .Values.redis.existingSecret) -}}
{{- $_ := set $found "redis-url" .Values.redis.url -}}
{{- end -}}
{{- if and .Values.api.token (not .Values.api.existingTokenSecret.name) -}}
{{- $_ := set $found "api-token" .Values.api.token -}}
{{- end -}}
{{- range include "tally.ingestors" . | fromJsonArray -}}
{{- if and .token (not .existingTokenSecret.name) -}}
{{- $_ := set $found (printf "ingest-token-%s" .name) .token -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* Names by which a service may be asked, with commas between. Of: root, name (of its Service), part. */}}
{{- define "tally.allowedHosts" -}}
{{- $namespace := .root.Release.Namespace -}}
{{- $hosts := list "$(POD_IP)" .name (printf "%s.%s" .name $namespace) (printf "%s.%s.svc" .name $namespace) (printf "%s.%s.svc.cluster.local" .name $namespace) -}}
{{- if and .part.ingress.enabled .part.ingress.host -}}
{{- $hosts = append $hosts .part.ingress.host -}}
{{- end -}}
{{- concat $hosts .part.allowedHosts | uniq | join "," -}}
{{- end -}}
