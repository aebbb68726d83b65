{{- define "name" -}}
{{ .Release.Name }}-{{ .Runeset.Name }}
{{- end -}}
