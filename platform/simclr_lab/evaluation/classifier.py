"""The supervised baseline's own classifier: the head trained with the encoder (Table 1)."""

from torch import nn

from simclr_lab.evaluation.features import Frozen
from simclr_lab.evaluation.labelled import LabelledSplits
from simclr_lab.evaluation.measured import Measured
from simclr_lab.evaluation.metrics import predictions, top1


def classifier(frozen: Frozen, splits: LabelledSplits) -> Measured:
    """Top-1 in percent of the largest z, which are scores of the classes; nothing is fitted.

    Contrastive pretraining and untrained encoders have no classifier: nothing is measured.
    """
    if not isinstance(frozen.head, nn.Linear):
        return Measured()
    metrics, arrays = {}, {}
    for name, part in splits.judged():
        scores = frozen.z(part.images)
        metrics[f"{name}_top1"] = top1(scores, part.labels)
        if name == "test":
            arrays["test_predictions"] = predictions(scores, part.labels)
    return Measured(metrics, arrays)
