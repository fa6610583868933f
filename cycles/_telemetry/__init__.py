"""Log, spans, metrics and trace context. It never imports OpenTelemetry, and nothing here fails a request."""
