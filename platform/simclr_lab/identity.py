"""Identity of cells and evaluations: canonical form, keys, METHOD_VERSION.

A key is the format of everyone's records. It changes when, and only when, what it names would
come out different: see docs/decisions/0003-identity.md before touching anything here.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Protocol

from simclr_lab.names import target_of

METHOD_VERSION = 1
"""Version of what the code computes from a recipe; a canary test says when to raise it."""

EVALUATION_VERSION = 1
"""The same for the evaluation protocols."""

KEY_LENGTH = 20


class Identified(Protocol):
    """Anything that knows the fields which determine its result (a Recipe does)."""

    def identity_fields(self) -> dict[str, Any]:
        """Dotted path -> value of every field that matters."""
        ...

    def flat(self) -> dict[str, Any]:
        """Every field by its dotted path."""
        ...


def canonical(fields: Mapping[str, Any]) -> str:
    """One text for one meaning: sorted names, no spaces, shortest exact form of each number.

    Raises ValueError for NaN and infinities, which have no JSON form.
    """
    return json.dumps(dict(fields), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def cell_key(
    recipe: Identified, seed: int, data_digest: str, *, method_version: int = METHOD_VERSION
) -> str:
    """Key of the cell that pretrains ``recipe`` with ``seed`` on the data of ``data_digest``.

    Args:
        recipe: the complete settings; evaluation settings, inert and neutral fields do not count.
        seed: the cell's replicate.
        data_digest: digest of the decoded dataset (``Dataset.digest``).
        method_version: what the code computes from a recipe.
    """
    return _hash(
        canonical(
            {
                "method_version": method_version,
                "recipe": recipe.identity_fields(),
                "seed": seed,
                "data_digest": data_digest,
            }
        )
    )


_SETTINGS_OF = {"linear_z": "linear", "linear_sgd": "sgd"}
"""Protocols whose settings go by another name than their own."""

_PROBE_SETTINGS = (
    "fit_images",
    "probe_color_strength",
    "probe_hidden_units",
    "probe_iterations",
)
_FINETUNE_SETTINGS = ("finetune_batch_size", "finetune_learning_rate", "finetune_schedule")
_OWN_SETTINGS = {
    "classifier": (),
    "probe_color": _PROBE_SETTINGS,
    "probe_rotation": _PROBE_SETTINGS,
    "probe_noise": _PROBE_SETTINGS,
    "probe_sobel": _PROBE_SETTINGS,
    "finetune_1pct": ("finetune_epochs_1pct", *_FINETUNE_SETTINGS),
    "finetune_10pct": ("finetune_epochs_10pct", *_FINETUNE_SETTINGS),
    "spectrum": (),
    "tsne": ("tsne_images", "tsne_perplexity"),
    "transfer": ("transfer_fit_images", "transfer_strengths"),
    "transfer_finetune": (
        "transfer_fit_images",
        "transfer_steps",
        "transfer_batch_size",
        "transfer_learning_rates",
        "transfer_weight_decays",
    ),
}
"""Settings of protocols whose names do not say them, by protocol or kind."""


_NEUTRAL = {"evaluation.sgd_schedule": "cosine"}
"""Settings that came later, left out of the key at the value that they had before."""


def evaluation_key(recipe: Identified, protocol: str) -> str:
    """Key of one evaluation protocol with the recipe's settings for it (never its cell)."""
    flat = recipe.flat()
    transfer = target_of(protocol)
    own = _OWN_SETTINGS.get(transfer[0] if transfer else protocol)
    if own is not None:
        names = [f"evaluation.{name}" for name in own]
    else:
        prefix = f"evaluation.{_SETTINGS_OF.get(protocol, protocol)}_"
        names = [n for n in flat if n == "evaluation.fit_images" or n.startswith(prefix)]
    settings = {name: flat[name] for name in names if flat[name] != _NEUTRAL.get(name)}
    return _hash(
        canonical(
            {"evaluation_version": EVALUATION_VERSION, "protocol": protocol, "settings": settings}
        )
    )
