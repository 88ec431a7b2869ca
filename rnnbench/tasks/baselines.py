"""Linear models that a network has to beat, on exactly what the network sees. Imports scikit-learn late."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rnnbench.contracts import Batch, TaskData

Predictor = Callable[[Batch], np.ndarray]

EVALUATION_SIZE = 1024

_PENALTIES = (0.01, 1.0, 100.0, 10_000.0)


def score_of(data: TaskData, predict: Predictor) -> float:
    """The task's metric of a predictor that maps a batch to what a network would put out."""
    return data.score((predict(batch), batch) for batch in data.evaluation(EVALUATION_SIZE))


def fit_ridge(train: Batch) -> Predictor:
    """Ridge regression from the flattened window (B, T*I) to targets (B,O).

    The penalty (0.01, 1, 100 or 10,000) is the one that does best on the last fifth of ``train``, fitted on
    the rest; then all of ``train`` is fitted. So a longer window costs it little.
    """
    from sklearn.linear_model import Ridge

    inputs, targets = _flat(train), train.targets
    cut = len(inputs) - len(inputs) // 5

    def error(penalty: float) -> float:
        model = Ridge(alpha=penalty).fit(inputs[:cut], targets[:cut])
        return float(
            np.mean((np.reshape(model.predict(inputs[cut:]), targets[cut:].shape) - targets[cut:]) ** 2)
        )

    best = min(_PENALTIES, key=error) if cut < len(inputs) else 1.0
    model = Ridge(alpha=best).fit(inputs, targets)
    return lambda batch: np.reshape(model.predict(_flat(batch)), batch.targets.shape)


def fit_tfidf(train: Batch, *, vocab: int) -> Predictor:
    """Logistic regression on TF-IDF of the tokens within each length: probabilities (B, classes).

    Without lengths, of the tokens that are not 0, which stands for padding.
    """
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.linear_model import LogisticRegression

    weigh = TfidfTransformer(sublinear_tf=True)
    model = LogisticRegression(max_iter=1000)
    model.fit(weigh.fit_transform(_counts(train, vocab)), train.targets)
    return lambda batch: np.asarray(model.predict_proba(weigh.transform(_counts(batch, vocab))))


def _flat(batch: Batch) -> np.ndarray:
    return batch.inputs.reshape(len(batch.inputs), -1)


def _counts(batch: Batch, vocab: int) -> object:
    from scipy.sparse import csr_matrix

    lengths = batch.lengths
    valid = batch.inputs > 0 if lengths is None else np.arange(batch.inputs.shape[1]) < lengths[:, None]
    tokens = batch.inputs[valid]
    ends = np.concatenate([[0], np.cumsum(valid.sum(axis=1))])
    counts = csr_matrix((np.ones(len(tokens)), tokens, ends), shape=(len(batch.inputs), vocab))
    counts.sum_duplicates()
    return counts
