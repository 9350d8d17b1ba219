"""Names of params, metrics and tags: one truth for the writer and the readers of the ledger."""

SCHEMA = "1"
"""Version of this page; every run carries it, so that later code knows how to read it."""

PREFIX = "simclr."
TAG_SCHEMA = f"{PREFIX}schema"
TAG_KIND = f"{PREFIX}kind"
KIND_CELL = "cell"
KIND_STUDY = "study"
TAG_KEY = f"{PREFIX}key"
TAG_SEED = f"{PREFIX}seed"
TAG_SCALE = f"{PREFIX}scale"
TAG_STATE = f"{PREFIX}state"
TAG_OUTCOME = f"{PREFIX}outcome"
TAG_REASON = f"{PREFIX}reason"
TAG_REASON_KIND = f"{PREFIX}reason_kind"
TAG_ENCODER_SHA256 = f"{PREFIX}encoder_sha256"
TAG_ATTEMPT = f"{PREFIX}attempt"
TAG_DATA_DIGEST = f"{PREFIX}data_digest"
TAG_METHOD_VERSION = f"{PREFIX}method_version"
TAG_WORLD_SIZE = f"{PREFIX}world_size"
TAG_THREADS = f"{PREFIX}threads"
TAG_EVALUATION = f"{PREFIX}evaluation."  # + protocol -> key of its settings
TAG_STUDY = f"{PREFIX}study"
TAG_STUDY_KIND = f"{PREFIX}study_kind"
TAG_METRIC = f"{PREFIX}metric"
TAG_LAUNCH = f"{PREFIX}launch."  # + timestamp -> command, host, pid
TAG_CELL = f"{PREFIX}cell."  # + key -> number, arm, seed, role: what cells.json does not list yet
TAG_SUPERSEDED_BY = f"{PREFIX}superseded_by"
TAG_REPLAY_OF = f"{PREFIX}replay_of"
TAG_VERDICT = f"{PREFIX}verdict"  # of a replay: identical, within, different

ARTIFACT_RECIPE = "recipe.json"
ARTIFACT_ARRAYS = "evaluations.npz"
ARTIFACT_DIFF = "git.diff"
ARTIFACT_CELLS = "cells.json"
ARTIFACT_STUDY = "study.toml"
ARTIFACT_FAILURE = "failure.txt"

COST_PREFIX = "cost/"
"""Metrics under this prefix are measurements of the machine; all others repeat bit for bit."""


def is_test_metric(name: str) -> bool:
    """Whether a metric reads the test split, which no search may do."""
    return "test" in name.rsplit("/", 1)[-1].split("_")
