"""Decoded images once per node, in Ray's object store; every worker reads the same pages."""

from dataclasses import fields
from typing import Any

import numpy as np
import ray

from simclr_lab.data.sources import Dataset


def share(dataset: Dataset) -> dict[str, Any]:
    """Put the arrays into the object store; the driver must keep the returned references."""
    parts = {field.name: getattr(dataset, field.name) for field in fields(dataset)}
    return {
        name: ray.put(value) if isinstance(value, np.ndarray) else value
        for name, value in parts.items()
    }


def receive(shared: dict[str, Any]) -> Dataset:
    """The dataset behind the references: arrays are read-only views without a copy.

    A torch view of them would let itself be written to and corrupt the images of every worker:
    only gather from them by index.
    """
    return Dataset(
        **{
            name: ray.get(value) if isinstance(value, ray.ObjectRef) else value
            for name, value in shared.items()
        }
    )
