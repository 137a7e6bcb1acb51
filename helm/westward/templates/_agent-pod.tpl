{{/* An agent's pod template; dict "root" $ "part" "head" or "agent" */}}
{{- define "westward.agentPod" -}}
{{- $root := .root -}}
{{- $agent := $root.Values.agent -}}
{{- $isHead := eq .part "head" -}}
{{- $own := $isHead | ternary $agent.head $agent -}}
metadata:
  labels:
    {{- include "westward.labels" (dict "root" $root "part" .part) | nindent 4 }}
  annotations:
    # A changed configuration restarts the agent; attempts run on meanwhile.
    checksum/config: {{ include (print $root.Template.BasePath "/agent-config.yaml") $root | sha256sum }}
spec:
  {{- include "westward.podSecurity" $root | nindent 2 }}
  # An agent finds and ends the processes of an attempt by itself, whatever became of Ray.
  hostPID: true
  {{- if $isHead }}
  # Ray's unauthenticated ports stay on the host's loopback.
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  {{- end }}
  containers:
    - name: agent
      image: {{ include "westward.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: [westward, agent, --config, /etc/westward/agent.yaml]
      {{- include "westward.containerSecurity" $root | nindent 6 }}
      env:
        - name: WESTWARD_AGENT_NODE_ID
          valueFrom:
            fieldRef:
              fieldPath: spec.nodeName
        {{- with $agent.token.existingSecret }}
        - name: WESTWARD_AGENT_SCHEDULER__TOKEN
          valueFrom:
            secretKeyRef:
              name: {{ . }}
              key: {{ $agent.token.key }}
        {{- end }}
      resources:
        {{- toYaml $own.resources | nindent 8 }}
      volumeMounts:
        - name: config
          mountPath: /etc/westward/agent.yaml
          subPath: {{ $isHead | ternary "head.yaml" "agent.yaml" }}
          readOnly: true
        - name: data
          mountPath: {{ $agent.dataDir }}
        - name: tmp
          mountPath: /tmp
        {{- if $isHead }}
        - name: ray
          mountPath: {{ $agent.head.rayDir }}
        - name: series
          mountPath: /etc/westward/series
          readOnly: true
        {{- end }}
        {{- if $agent.ca.existingSecret }}
        - name: ca
          mountPath: /etc/westward/ca
          readOnly: true
        {{- end }}
  {{- include "westward.scheduling" $own | nindent 2 }}
  volumes:
    - name: config
      configMap:
        name: {{ include "westward.name" $root }}-agent
    - name: data
      hostPath:
        path: {{ $agent.dataDir }}
        type: Directory
    - name: tmp
      emptyDir: {}
    {{- if $isHead }}
    - name: ray
      hostPath:
        path: {{ $agent.head.rayDir }}
        type: DirectoryOrCreate
    - name: series
      configMap:
        name: {{ include "westward.name" $root }}-series
    {{- end }}
    {{- with $agent.ca.existingSecret }}
    - name: ca
      secret:
        secretName: {{ . }}
        items:
          - key: {{ $agent.ca.key }}
            path: ca.crt
    {{- end }}
{{- end -}}
