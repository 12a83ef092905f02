"""A number for a text or a pair of texts (rating, similarity)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from lilliput.errors import BundleError, ConfigError
from lilliput.tasks import NO_LABEL, Column, RowFault
from lilliput.tasks.classification import Classification

NO_NUMBER = "score that is no finite number"


class Regression(Classification):
    """The model learns standardised scores, ``(y - mean) / deviation`` of training; afterwards its head is scaled back,
    so that what is saved answers in the units of the data.
    """

    name = "regression"
    problem = "regression"
    metric = "spearman"
    falling = frozenset({"rmse"})
    columns: ClassVar[Mapping[str, Column]] = {
        **Classification.columns,
        "label": Column(("score", "rating", "similarity", "stars", "label", "target", "y")),
    }
    fewest_labels = 1

    def read(self, cells: Mapping[str, Any]) -> tuple[Any, Any]:
        """The text, or the pair, and its score."""
        item, _ = super().read({role: cell for role, cell in cells.items() if role != "label"})
        return item, score(cells["label"]) if "label" in cells else None

    def label_names(self, targets: Sequence[Any]) -> tuple[str, ...]:
        """The one output."""
        return ("score",)

    def index(self, target: Any, names: Sequence[str]) -> Any:
        """The score as it is."""
        return target

    def shown(self, target: Any, names: Sequence[str]) -> Any:
        """The score as it is."""
        return target

    def counted(self, target: Any, names: Sequence[str]) -> Sequence[str]:
        """No labels."""
        return []

    def prior(self, targets: Sequence[Any]) -> dict[str, Any]:
        """Mean and standard deviation of the training scores; 1 where all are equal."""
        return {"mean": float(np.mean(targets)), "deviation": float(np.std(targets)) or 1.0}

    def loss(self, targets: Sequence[Any]) -> str:
        """The squared error of standardised scores."""
        return "standardised"

    def predict(
        self,
        item: Any,
        windows: Sequence[Encoding],
        outputs: Sequence[NDArray[np.float32]],
        settings: Mapping[str, Any],
    ) -> Any:
        """The score."""
        return float(outputs[0][0]) * settings.get("deviation", 1.0) + settings.get("mean", 0.0)

    def check_settings(self, settings: Mapping[str, Any], labels: Sequence[str]) -> None:
        """At most the numbers ``mean`` and ``deviation`` of the scores that the model was trained on."""
        known = {"mean", "deviation"}
        if set(settings) - known or not all(isinstance(one, (int, float)) for one in settings.values()):
            raise BundleError(f"settings: {self.name} may have numbers mean and deviation, the bundle has others")

    def agreement(
        self, ours: Sequence[Any], theirs: Sequence[Any], names: Sequence[str], settings: Mapping[str, Any]
    ) -> float:
        """``1 - |difference| / deviation``, in the mean, where the deviation is that of ``theirs``; at least 0."""
        one, other = np.asarray(ours), np.asarray(theirs)
        spread = float(other.std()) or 1.0
        return max(0.0, 1.0 - float(np.abs(one - other).mean()) / spread)

    def metrics(
        self, predictions: Sequence[Any], targets: Sequence[Any], names: Sequence[str], settings: Mapping[str, Any]
    ) -> dict[str, float]:
        """Correlations of Pearson and Spearman (0 where one side is constant), and the root of the mean squared
        error."""
        found, gold = np.asarray(predictions), np.asarray(targets)
        return {
            "spearman": correlation(found, gold, ranks=True),
            "pearson": correlation(found, gold),
            "rmse": float(np.sqrt(np.square(found - gold).mean())),
        }

    def record(self, prediction: Any, names: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
        """The score."""
        return {"prediction": prediction, "probabilities": None}

    def answer(
        self,
        item: Any,
        prediction: Any,
        names: Sequence[str],
        settings: Mapping[str, Any],
        *,
        tokenizer: Tokenizer | None = None,
        **options: Any,
    ) -> Any:
        """``{"label": "score", "score": number}``, as the text-classification pipeline of transformers gives it."""
        if options:
            raise ConfigError(f"{next(iter(options))}: {self.name} has no options")
        return {"label": names[0], "score": prediction}


def score(value: Any) -> float:
    """A cell that must hold a finite number."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise RowFault(NO_LABEL)
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise RowFault(NO_NUMBER)
    return found


def correlation(one: NDArray[np.float64], other: NDArray[np.float64], ranks: bool = False) -> float:
    """Pearson's correlation, or Spearman's; 0 where one side is constant but for rounding, for then there is none."""
    from scipy.stats import pearsonr, spearmanr

    if len(one) < 2 or any(np.ptp(side) <= 1e-12 * np.abs(side).max() for side in (one, other)):
        return 0.0
    return float((spearmanr if ranks else pearsonr)(one, other).statistic)


TASK = Regression()
