"""Calibration: a vote's probabilities, changed so that they mean what they say, with no change of class."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from sklearn.isotonic import IsotonicRegression

from components.core.errors import InputError
from components.data.top_classes import PredProbs, TopClasses, opened
from components.modeling.cross_fitting import choice_folds, cross_fit
from components.modeling.metrics import LEAST, log_loss

FITTED_ON = 10_000  # products, more of which change no digit that matters
STEPS_FROM = 1_000  # products; of fewer a step function follows chance
TEMPERATURES, FLOORS = (0.02, 20.0), (1e-5, 0.5)


@dataclass(frozen=True)
class Calibrator:
    """How probabilities are calibrated.

    identity: not at all. temperature: the logarithms divided by one number (Guo et al., ICML 2017).
    temperature_and_floor: of that, a share goes evenly to all classes: where labels are wrong at random no
    confidence is ever right, and one temperature alone would flatten all rows to make up for it.
    isotonic: the confidence through a monotone step function (Zadrozny and Elkan, KDD 2002), the other
    classes in proportion. None changes which class of a row is the most probable.

    Attributes:
        kind: the name of one of these.
        temperature, floor: of the first three; 1 and 0 do nothing.
        confidence, accuracy: of the step function.
    """

    kind: str = "identity"
    temperature: float = 1.0
    floor: float = 0.0
    confidence: tuple[float, ...] = ()
    accuracy: tuple[float, ...] = ()

    def __call__(self, pred_probs: Any) -> Any:
        """(N, C) probabilities -> calibrated, float32, of the same form; their most probable classes stay."""
        if self.kind == "identity":
            return pred_probs
        if isinstance(pred_probs, TopClasses):
            return replace(pred_probs, values=self._changed(pred_probs.values, pred_probs.counts))
        return self._changed(pred_probs, None)

    def _changed(self, values: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
        """Values (N, columns), of which each column is `counts` classes; one if None."""
        change = _isotonic if self.confidence else _scaled
        return _with_classes_of(values, change(self, values, counts).astype(np.float32))

    def document(self) -> dict[str, Any]:
        """What `model.json` says of it."""
        if self.kind == "isotonic":
            return {"kind": self.kind, "confidence": list(self.confidence), "accuracy": list(self.accuracy)}
        settings = {"temperature": self.temperature, "floor": self.floor}
        return {"kind": self.kind, **(settings if self.kind != "identity" else {})}


def calibrator_of(document: Mapping[str, Any], *, where: str) -> Calibrator:
    """The calibrator that a model's description names.

    Raises:
        InputError: a kind that this release does not know.
    """
    if document["kind"] not in (*FITS, "identity"):
        raise InputError(f"{where}: calibration {document['kind']!r}, expected {', '.join(FITS)} or identity")
    return Calibrator(
        document["kind"],
        document.get("temperature", 1.0),
        document.get("floor", 0.0),
        tuple(document.get("confidence", ())),
        tuple(document.get("accuracy", ())),
    )


@dataclass(frozen=True)
class Calibrated:
    """A calibration that was chosen out of fold.

    Attributes:
        pred_probs: (N, C) each row by what was fitted without its fold; in the form of the uncalibrated.
        calibrator: fitted on all rows, for new products.
        log_loss: of every kind that was tried, out of fold.
    """

    pred_probs: Any
    calibrator: Calibrator
    log_loss: dict[str, float]


def calibrated(pred_probs: PredProbs, labels: np.ndarray, groups: np.ndarray) -> Calibrated:
    """Calibrates by the kind whose log-loss, cross-fitted by groups, is the least.

    Args:
        pred_probs: (N, C) probabilities of what did not see the rows.
        labels: (N,) classes.
        groups: (N,) rows of a group are never on both sides.
    """
    folds = choice_folds(labels, groups)
    if not folds.any():  # too few products to fit anything that could be checked
        return Calibrated(pred_probs, Calibrator(), {"identity": log_loss(labels, pred_probs)})
    found: dict[str, Any] = {"identity": pred_probs}
    enough = {kind: fit for kind, fit in FITS.items() if kind != "isotonic" or len(labels) >= STEPS_FROM}
    for kind, fit in enough.items():
        found[kind], _ = cross_fit(
            lambda rows, fit=fit: fit(pred_probs[rows], labels[rows]),
            lambda calibrator, rows: calibrator(pred_probs[rows]),
            folds,
        )
    losses = {kind: log_loss(labels, values) for kind, values in found.items()}
    best = min(losses, key=losses.__getitem__)
    calibrator = FITS[best](pred_probs, labels) if best in FITS else Calibrator()
    return Calibrated(found[best], calibrator, losses)


def fit_temperature(pred_probs: PredProbs, labels: np.ndarray) -> Calibrator:
    """The temperature with the least log-loss."""
    loss = _loss_of(pred_probs, labels)
    found: Any = minimize_scalar(
        lambda log_temperature: loss(np.exp(log_temperature), 0.0),
        bounds=np.log(TEMPERATURES),
        method="bounded",
        options={"xatol": 1e-3},
    )
    return Calibrator("temperature", float(np.exp(found.x)))


def fit_temperature_and_floor(pred_probs: PredProbs, labels: np.ndarray) -> Calibrator:
    """The temperature and the share of all classes with the least log-loss, together."""
    loss = _loss_of(pred_probs, labels)
    start = np.log([fit_temperature(pred_probs, labels).temperature, 0.02])
    found = minimize(
        lambda logs: loss(*np.exp(logs)),
        start,
        method="Nelder-Mead",
        bounds=[np.log(TEMPERATURES), np.log(FLOORS)],
        options={"xatol": 1e-2, "fatol": 1e-6},
    )
    temperature, floor = np.exp(found.x).tolist()
    return Calibrator("temperature_and_floor", temperature, floor)


def fit_isotonic(pred_probs: PredProbs, labels: np.ndarray) -> Calibrator:
    """The monotone step function of confidence with the least squared error; never quite 0 or 1."""
    confidence, right = pred_probs.max(axis=1), pred_probs.argmax(axis=1) == labels
    margin = 0.5 / (len(labels) + 1)
    fit = IsotonicRegression(y_min=margin, y_max=1 - margin, out_of_bounds="clip")
    fit.fit(confidence.astype(np.float64), right.astype(np.float64))
    points: Any = fit
    steps, heights = points.X_thresholds_.tolist(), points.y_thresholds_.tolist()
    return Calibrator("isotonic", confidence=tuple(steps), accuracy=tuple(heights))


FITS: dict[str, Callable[[Any, np.ndarray], Calibrator]] = {
    "temperature": fit_temperature,
    "temperature_and_floor": fit_temperature_and_floor,
    "isotonic": fit_isotonic,
}


def _scaled(calibrator: Calibrator, pred_probs: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
    scaled = _softmax(_logs(pred_probs) / np.float32(calibrator.temperature), counts)
    return (1 - calibrator.floor) * scaled + calibrator.floor / _classes(pred_probs, counts)


def _isotonic(calibrator: Calibrator, pred_probs: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
    rows, best = np.arange(len(pred_probs)), pred_probs.argmax(axis=1)
    confidence = pred_probs[rows, best].astype(np.float64)
    wanted = np.interp(confidence, calibrator.confidence, calibrator.accuracy)
    others = np.maximum(1 - confidence, LEAST)
    # Where all others are 0, what the first loses is spread evenly.
    rest = pred_probs.astype(np.float64) + LEAST / _classes(pred_probs, counts)
    changed = rest * ((1 - wanted) / others)[:, None]
    changed[rows, best] = wanted
    return changed / _sums(changed, counts)


def _with_classes_of(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """`after` with each row's largest value where `before` has it; rounding, or a step, may have moved it."""
    was, now = before.argmax(axis=1), after.argmax(axis=1)
    rows = np.flatnonzero(was != now)
    after[rows, was[rows]], after[rows, now[rows]] = after[rows, now[rows]], after[rows, was[rows]]
    # Of equal ones the first counts as the largest.
    tied = rows[after[rows].argmax(axis=1) != was[rows]]
    after[tied, was[tied]] = np.nextafter(after[tied, was[tied]], np.float32(2))
    return after


def _loss_of(pred_probs: PredProbs, labels: np.ndarray) -> Callable[[float, float], float]:
    """Temperature, floor -> log-loss of some products and, as if seen once, of a second guess that was right.

    Without that product, a split on which every prediction is right has no best temperature above 0
    (Platt, 1999, has such a product for each class).
    """
    step = -(-len(labels) // FITTED_ON)
    values, columns, counts = opened(pred_probs[::step], labels[::step])
    logs, rows, classes = _logs(values), np.arange(len(columns)), _classes(values, counts)
    second = np.argpartition(-values, 1, axis=1)[:, 1]

    def loss(temperature: float, floor: float) -> float:
        scaled = _softmax(logs / np.float32(temperature), counts)
        found = (scaled[rows, which].astype(np.float64) for which in (columns, second))
        of_labels, of_second = (
            -np.log(np.maximum((1 - floor) * each + floor / classes, LEAST)).mean() for each in found
        )
        return float(of_labels + of_second / len(columns))

    return loss


def _logs(pred_probs: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(pred_probs, LEAST)).astype(np.float32, copy=False)


def _softmax(logits: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / _sums(powers, counts)


def _sums(values: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
    """(N, 1) over all classes."""
    return values.sum(axis=1, keepdims=True) if counts is None else (values @ counts)[:, None]


def _classes(values: np.ndarray, counts: np.ndarray | None) -> int:
    return values.shape[1] if counts is None else int(counts.sum())
