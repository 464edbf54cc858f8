{{/*
What the three services have in common.

Of: root, component, ingestor (its name, or nothing), name (of the Deployment), part (the values of the service), command,
redis and token (as of tally.redisSecret and tally.tokenSecret), tokenVariable, ports (containerPort and name of each), probed
(the name of the port with health), recreate, replicas (nothing where somebody else decides), drains (whether a Service sends it
connections), env and volumes and mounts (of this service alone).
*/}}
{{- define "tally.deployment" -}}
{{- $root := .root -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  labels:
    {{- include "tally.labels" . | nindent 4 }}
spec:
  {{- if ne .replicas nil }}
  replicas: {{ int .replicas }}
  {{- end }}
  strategy:
    {{- if .recreate }}
    # One that reads a file ends before the next one begins.
    type: Recreate
    {{- else }}
    type: RollingUpdate
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
    {{- end }}
  selector:
    matchLabels:
      {{- include "tally.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "tally.selectorLabels" . | nindent 8 }}
        {{- with .part.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        # Secrets are read once, at the start: another value in that of the release starts anew the pods that use it.
        checksum/secrets: {{ pick (include "tally.secrets" $root | fromJson) "redis-url" (.token.key | default "") | toJson | sha256sum }}
        {{- with .part.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "tally.serviceAccountName" $root }}
      automountServiceAccountToken: false
      # Or each Service named tally-… would be variables TALLY_…, which are settings to us.
      enableServiceLinks: false
      # Process 1 is Kubernetes' own then: it reaps what a source exec: leaves behind, and a SIGTERM ends what is still starting.
      shareProcessNamespace: true
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- toYaml $root.Values.podSecurityContext | nindent 8 }}
      {{- with .part.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with .part.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .part.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .part.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "tally.selectorLabels" . | nindent 14 }}
      {{- $pause := ternary 5 0 .drains }}
      terminationGracePeriodSeconds: {{ add $pause (int .part.stopSeconds) }}
      containers:
        - name: {{ .component }}
          image: {{ printf "%s:%s" $root.Values.image.repository ($root.Values.image.tag | default $root.Chart.AppVersion) | quote }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          command: {{ toJson .command }}
          securityContext:
            {{- toYaml $root.Values.securityContext | nindent 12 }}
          env:
            - name: POD_IP
              valueFrom: {fieldRef: {fieldPath: status.podIP}}
            - {name: TALLY_REDIS_URL_FILE, value: /run/tally/redis-url}
            - {name: TALLY_NAMESPACE, value: {{ $root.Values.redis.namespace | quote }}}
            - {name: TALLY_SHARDS, value: {{ $root.Values.shards | int | quote }}}
            {{- if .token }}
            - {name: {{ .tokenVariable }}_FILE, value: /run/tally/token}
            {{- end }}
            {{- if $root.Values.redis.tls.existingSecret }}
            {{- range $variable, $key := dict "CA" "caKey" "CERTIFICATE" "certificateKey" "KEY" "keyKey" }}
            {{- with get $root.Values.redis.tls $key }}
            - {name: TALLY_REDIS_TLS_{{ $variable }}_PATH, value: {{ printf "/run/tally-redis-tls/%s" . | quote }}}
            {{- end }}
            {{- end }}
            {{- end }}
            {{- with .env }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
            {{- $settings := dict }}
            {{- range $group := list $root.Values.settings .part.settings }}
            {{- range $name, $value := $group }}
            {{- $_ := set $settings $name $value }}
            {{- end }}
            {{- end }}
            {{- range $name, $value := $settings }}
            {{- if ne $value nil }}
            - {name: {{ $name }}, value: {{ include "tally.value" $value }}}
            {{- end }}
            {{- end }}
            {{- with .part.env }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          ports:
            {{- range .ports }}
            - {name: {{ .name }}, containerPort: {{ int .port }}}
            {{- end }}
          # Redis need not answer for this: a service that waits for it is alive. A minute, because a node may be busy.
          startupProbe:
            httpGet: {path: /healthz, port: {{ .probed }}}
            periodSeconds: 2
            timeoutSeconds: 5
            failureThreshold: 30
          livenessProbe:
            httpGet: {path: /healthz, port: {{ .probed }}}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet: {path: /readyz, port: {{ .probed }}}
            periodSeconds: 5
            timeoutSeconds: 6
            failureThreshold: 3
          {{- if .drains }}
          lifecycle:
            preStop:
              # The Service sends connections here for a moment after it was told not to.
              exec: {command: [sleep, {{ $pause | quote }}]}
          {{- end }}
          resources:
            {{- toYaml .part.resources | nindent 12 }}
          volumeMounts:
            - {name: secrets, mountPath: /run/tally, readOnly: true}
            - {name: tmp, mountPath: /tmp}
            {{- if $root.Values.redis.tls.existingSecret }}
            - {name: redis-tls, mountPath: /run/tally-redis-tls, readOnly: true}
            {{- end }}
            {{- with .mounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
            {{- with .part.volumeMounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
      volumes:
        - name: secrets
          projected:
            sources:
              - secret:
                  name: {{ .redis.name }}
                  items: [{key: {{ .redis.key | quote }}, path: redis-url}]
              {{- if .token }}
              - secret:
                  name: {{ .token.name }}
                  items: [{key: {{ .token.key | quote }}, path: token}]
              {{- end }}
        - name: tmp
          emptyDir: {}
        {{- with $root.Values.redis.tls.existingSecret }}
        - name: redis-tls
          secret: {secretName: {{ . }}}
        {{- end }}
        {{- with .volumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- with .part.volumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end -}}

{{/* Who may connect to a service. Of: root, component, ingestor, name, part, ports (numbers that clients reach), metrics (number). */}}
{{- define "tally.networkPolicy" -}}
{{- $policy := .root.Values.networkPolicy -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .name }}
  labels:
    {{- include "tally.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "tally.selectorLabels" . | nindent 6 }}
  policyTypes: [Ingress{{ if $policy.egress }}, Egress{{ end }}]
  ingress:
    {{- $clients := .part.clients | default $policy.clients }}
    {{- if and .ports $clients }}
    - from:
        {{- toYaml $clients | nindent 8 }}
      ports:
        {{- range .ports }}
        - {protocol: TCP, port: {{ int . }}}
        {{- end }}
    {{- end }}
    {{- with $policy.prometheus }}
    - from:
        {{- toYaml . | nindent 8 }}
      ports:
        - {protocol: TCP, port: {{ int $.metrics }}}
    {{- end }}
  {{- with $policy.egress }}
  egress:
    - ports:
        - {protocol: UDP, port: 53}
        - {protocol: TCP, port: 53}
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Of: root, component, ingestor, name. */}}
{{- define "tally.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  labels:
    {{- include "tally.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .root.Values.podDisruptionBudget.maxUnavailable }}
  # None of them is ready while Redis is away, and a node may be drained all the same.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "tally.selectorLabels" . | nindent 6 }}
{{- end -}}

{{/* What Services of all kinds have. Of: part. */}}
{{- define "tally.service" -}}
type: {{ .part.service.type }}
{{- if ne .part.service.type "ClusterIP" }}
externalTrafficPolicy: {{ .part.service.externalTrafficPolicy }}
{{- end }}
{{- with .part.service.loadBalancerSourceRanges }}
loadBalancerSourceRanges:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Of: root, component, ingestor, name, part, backend (the port of its Service, by name). */}}
{{- define "tally.ingress" -}}
{{- $ingress := .part.ingress -}}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ .name }}
  labels:
    {{- include "tally.labels" . | nindent 4 }}
  {{- with $ingress.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with $ingress.className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with $ingress.tlsSecret }}
  tls:
    - secretName: {{ . }}
      {{- with $ingress.host }}
      hosts: [{{ . | quote }}]
      {{- end }}
  {{- end }}
  rules:
    - http:
        paths:
          - path: {{ $ingress.path | quote }}
            pathType: Prefix
            backend:
              service:
                name: {{ .name }}
                port: {name: {{ .backend }}}
      {{- with $ingress.host }}
      host: {{ . | quote }}
      {{- end }}
{{- end -}}

{{/* A Service with no address of its own, for scraping: also pods that are not ready, which tell the most. Of: root, component, ingestor, name, metrics. */}}
{{- define "tally.metricsService" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .name }}-metrics
  labels:
    {{- include "tally.labels" . | nindent 4 }}
    metrics: {{ ternary "api" "plain" (eq .component "api") }}
    # Prometheus' job. The alerts look for one with tally in it.
    job: {{ ternary .name (printf "tally-%s" .name) (contains "tally" .name) }}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    {{- include "tally.selectorLabels" . | nindent 4 }}
  ports:
    - {name: metrics, port: {{ int .metrics }}, targetPort: {{ int .metrics }}}
{{- end -}}
