"""The adapters against the real packages of their frameworks, on the local provider and an authority over HTTP."""
