"""Study files: partial recipes whose leaves are domains. Pydantic only."""
