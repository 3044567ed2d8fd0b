"""The training of a transformer: its step, schedule and evaluation, put into the training loop."""

import numpy as np
from transformers import PreTrainedModel

from components.data.products import Task
from components.data.top_classes import PredProbs
from components.modeling import schedules
from components.modeling.callbacks import Average, BestEpoch, EpochEvaluation, LateWeights
from components.modeling.checkpoint import Checkpoints
from components.modeling.cross_fitting import choice_folds
from components.modeling.processes import interleaved, process_count, process_rank
from components.modeling.termination import Termination
from components.modeling.text.encoder import head
from components.modeling.text.tokens import Tokens
from components.modeling.training import TrainingLoop, TrainingPlan, shuffled_batches
from components.text.kinds.transformer import TransformerConfig
from components.text.predict import predict
from components.text.step import class_weights, make_step


class Training:
    """One training, from its start or its newest checkpoint to its end.

    Of processes that train together each takes its share of each batch and holds the same weights.

    Attributes:
        predicted: the model that is evaluated: the averaged one where weights are averaged.
        loop: steps, epochs and their curves.
        evaluation: the late epochs' probabilities.
        late: their weights.
        best: the best epoch's weights.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokens: Tokens,
        labels: np.ndarray,
        task: Task,
        config: TransformerConfig,
        *,
        groups: np.ndarray,
        seed: int,
        checkpoints: Checkpoints | None,
        termination: Termination,
    ) -> None:
        self.model, self.tokens, self.task, self.config = model, tokens, task, config
        self.seed = seed
        self.average = Average(model, config.ema) if config.ema else None
        self.predicted: PreTrainedModel = self.average.average.module if self.average else model  # type: ignore[assignment]
        # One more than is asked for, as one of them may be the best.
        newest = config.late_checkpoints + 1
        self.evaluation = self._evaluation(labels, groups, newest)
        self.late = LateWeights(self.predicted, keeps=self._is_late, newest=newest)
        self.best = BestEpoch(self.predicted)
        weights = class_weights(labels[task.fit], head(model).out_features, balanced=config.class_weights)
        self.step = make_step(model, tokens, labels, weights, config, lambda: self.loop.pause())
        averages = {"average": self.average} if self.average else {}
        self.loop = TrainingLoop(
            self.step,
            self._plan(),
            {**averages, "evaluation": self.evaluation, "late": self.late, "best": self.best},
            checkpoints=checkpoints,
            termination=termination,
        )

    def run(self) -> None:
        """Trains to the end; see `TrainingLoop.run`."""
        self.loop.run(self._batches)

    def _plan(self) -> TrainingPlan:
        config = self.config
        epoch_steps = -(-len(self.task.fit) // config.batch_size)
        steps = config.epochs * epoch_steps
        return TrainingPlan(
            f"classifier {config.name}",
            config.epochs,
            epoch_steps,
            lambda step: schedules.linear(step, steps, peak=config.learning_rate, warmup=config.warmup),
            seed=self.seed,
            checkpoint_minutes=config.checkpoint_minutes,
        )

    def _evaluation(self, labels: np.ndarray, groups: np.ndarray, newest: int) -> EpochEvaluation:
        of_split = {split: labels[rows] for split, rows in self.task.predict.items()}
        validation = self.task.predict.get("validation", np.empty(0, np.int64))
        chooses = len(validation) > 0 and not self.task.of_fold
        folds = choice_folds(labels[validation], groups[validation]) if chooses else None
        return EpochEvaluation(self._predict, of_split, keeps=self._is_late, newest=newest, folds=folds)

    def _is_late(self, epoch: int) -> bool:
        late = self.config.late_checkpoints
        return bool(late) and epoch >= self.config.epochs - late

    def _batches(self, epoch: int, first: int) -> list[np.ndarray]:
        numbers = range(first, self.loop.plan.epoch_steps)
        return shuffled_batches(self.task.fit, self.config.batch_size, numbers, seed=self.seed, epoch=epoch)

    def _predict(self, split: str) -> PredProbs:
        rows = self.task.predict[split][process_rank() :: process_count()]
        pred_probs, _ = predict(self.predicted, self.tokens, rows, pause=self.loop.pause)
        return interleaved(pred_probs)
