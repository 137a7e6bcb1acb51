{{/* The scheduler's pod template: the same for SQLite (StatefulSet) and PostgreSQL (Deployment) */}}
{{- define "westward.schedulerPod" -}}
{{- $scheduler := .Values.scheduler -}}
metadata:
  labels:
    {{- include "westward.labels" (dict "root" $ "part" "scheduler") | nindent 4 }}
  annotations:
    # A changed configuration restarts the pod.
    checksum/config: {{ include (print $.Template.BasePath "/scheduler-config.yaml") . | sha256sum }}
spec:
  {{- include "westward.podSecurity" . | nindent 2 }}
  # A round in progress and the last group commit end well within this.
  terminationGracePeriodSeconds: 30
  containers:
    - name: scheduler
      image: {{ include "westward.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      command: [westward, scheduler, --config, /etc/westward/scheduler.yaml]
      {{- include "westward.containerSecurity" . | nindent 6 }}
      {{- if or $scheduler.database.existingSecret $scheduler.token.existingSecret }}
      env:
        {{- with $scheduler.database.existingSecret }}
        - name: WESTWARD_SCHEDULER_DATABASE_URL
          valueFrom:
            secretKeyRef:
              name: {{ . }}
              key: {{ $scheduler.database.key }}
        {{- end }}
        {{- with $scheduler.token.existingSecret }}
        - name: WESTWARD_SCHEDULER_TOKEN
          valueFrom:
            secretKeyRef:
              name: {{ . }}
              key: {{ $scheduler.token.key }}
        {{- end }}
      {{- end }}
      ports:
        - name: grpc
          containerPort: {{ $scheduler.service.port }}
        {{- if $scheduler.metrics.enabled }}
        - name: metrics
          containerPort: {{ $scheduler.metrics.port }}
        {{- end }}
      {{- range $probe := list (dict "name" "startupProbe" "fails" 60) (dict "name" "readinessProbe" "fails" 2) (dict "name" "livenessProbe" "fails" 6) }}
      {{ $probe.name }}:
        {{- if $scheduler.tls.existingSecret }}
        tcpSocket:  # the kubelet's gRPC probe cannot speak TLS
        {{- else }}
        grpc:
        {{- end }}
          port: {{ $scheduler.service.port }}
        periodSeconds: 5
        failureThreshold: {{ $probe.fails }}
      {{- end }}
      resources:
        {{- toYaml $scheduler.resources | nindent 8 }}
      volumeMounts:
        - name: config
          mountPath: /etc/westward/scheduler.yaml
          subPath: scheduler.yaml
          readOnly: true
        {{- if $scheduler.policies }}
        # As a folder: a file mounted by subPath would stay as it is when the ConfigMap changes.
        - name: policies
          mountPath: /etc/westward/policies
          readOnly: true
        {{- end }}
        - name: tmp
          mountPath: /tmp
        {{- if $scheduler.tls.existingSecret }}
        - name: tls
          mountPath: /etc/westward/tls
          readOnly: true
        {{- end }}
        {{- if not $scheduler.database.existingSecret }}
        - name: data
          mountPath: /var/lib/westward
        {{- end }}
  {{- include "westward.scheduling" $scheduler | nindent 2 }}
  volumes:
    - name: config
      configMap:
        name: {{ include "westward.name" . }}-scheduler
    {{- if $scheduler.policies }}
    - name: policies
      configMap:
        name: {{ include "westward.name" . }}-policies
    {{- end }}
    - name: tmp
      emptyDir: {}
    {{- with $scheduler.tls.existingSecret }}
    - name: tls
      secret:
        secretName: {{ . }}
    {{- end }}
{{- end -}}
