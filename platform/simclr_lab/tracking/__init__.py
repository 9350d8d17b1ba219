"""Records: leases, the writer and the reader of the ledger. MLflow lives here.

MLflow reads its manners when it is imported, so they stand in front of every import of it.
"""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # patience is the writer's own
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
