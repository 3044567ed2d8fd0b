"""Presets: the pipeline's parameters as data.

`paper` holds what differs between its classifiers; every number that is not named here is the paper's own and
stands as the default of its configuration class, with the section it comes from. `laptop` needs no GPU,
no network and no pretrained weights.
"""

from typing import Any

from components.core.errors import InputError

PAPER: dict[str, Any] = {
    "name": "paper",
    "denoise_on": "image",
    "text_fold_config": {
        "name": "camembert-base",
        "weights": "almanach/camembert-base",
        "learning_rate": 5e-5,
        "batch_size": 64,
    },
    "image_fold_config": {
        "name": "resnet50",
        "backbone": "resnet50",
        "weights": "pretrained",
        "epochs": 50,
        "dcl_epochs": 0,
    },
    # 3 text x 2 image x 2 fusion = 12 members (section 3.4).
    "text_configs": [
        {
            "name": "camembert-base-64",
            "weights": "almanach/camembert-base",
            "learning_rate": 5e-5,
            "batch_size": 64,
        },
        {
            "name": "camembert-base-128",
            "weights": "almanach/camembert-base",
            "learning_rate": 3e-5,
            "batch_size": 128,
        },
        {
            "name": "camembert-large",
            "weights": "almanach/camembert-large",
            "learning_rate": 3e-5,
            "batch_size": 64,
        },
    ],
    "image_configs": [
        {"name": "resnet152", "weights": "pretrained", "dcl_epochs": 0},
        {"name": "resnet152-dcl", "weights": "pretrained", "cleaned": True, "dcl_epochs": 20},
    ],
    "fusion_configs": [
        {"name": "linear", "kind": "linear"},
        {"name": "mlp", "kind": "mlp"},
        {"name": "concat", "kind": "concat"},
    ],
    "denoise_configs": {"image": {}, "text": {}, "both": {}},
    "ensemble_config": {"name": "ensemble", "vote": "majority"},
    "accelerator_type": "nvidia.com/gpu",
    "accelerator_count": "1",
    # Nodes with GPUs are usually tainted so that nothing else lands there.
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
}

SMALL_RESNET: dict[str, Any] = {
    "name": "small-resnet",
    "backbone": "small_resnet",
    "weights": "scratch",
    # Height, width in pixels; larger images are reduced.
    "resize": [80, 60],
    "crop": [80, 60],
    "padding": 4,
    "rotation": 0,
    "min_steps": 1000,
    "batch_size": 64,
    "learning_rate": 0.1,
    "weight_decay": 5e-4,
    "schedule": "one_cycle",
    "label_smoothing": 0.1,
    "dcl_epochs": 0,
}

LAPTOP: dict[str, Any] = {
    "name": "laptop",
    "denoise_on": "text",
    "text_fold_config": {"name": "tfidf", "kind": "linear", "features": 0},
    "image_fold_config": {**SMALL_RESNET, "epochs": 5},
    "text_configs": [
        {"name": "tfidf", "kind": "linear", "refit": True},
        {"name": "tfidf-cleaned", "kind": "linear", "cleaned": True, "refit": True},
    ],
    "image_configs": [
        {**SMALL_RESNET, "cleaned": True, "epochs": 12, "logit_adjustment_tau": 0.5},
        {"name": "color-histogram", "kind": "color_histogram", "cleaned": True, "refit": True},
    ],
    "fusion_configs": [
        {"name": "linear", "kind": "linear"},
        {"name": "mlp", "kind": "mlp"},
        {"name": "logistic", "kind": "logistic"},
        {"name": "mean", "kind": "mean"},
        {"name": "product", "kind": "product"},
        {"name": "concat", "kind": "concat", "batch_size": 256, "learning_rate": 2e-3},
        {"name": "ngram-color-mlp", "kind": "ngram_color_mlp", "refit": True},
        {"name": "ngram-color-mlp-cleaned", "kind": "ngram_color_mlp", "cleaned": True, "refit": True},
    ],
    # Text folds rank label issues sharply enough to remove more of them than image folds may.
    "denoise_configs": {
        "text": {"share": 0.4, "filter_by": "prune_by_class"},
        "image": {"filter_by": "low_self_confidence", "rank": "self_confidence"},
        "both": {"share": 0.4, "filter_by": "prune_by_class"},
    },
    # On few products of a class, weights found out of fold follow chance: equal ones did better on products
    # that neither training nor validation had seen. So did a share for nets that read both modalities.
    "ensemble_config": {
        "name": "ensemble",
        "vote": "soft",
        "feature_level": {"ngram-color-mlp": 0.2, "ngram-color-mlp-cleaned": 0.2},
    },
    "accelerator_type": "",
    "accelerator_count": "0",
    "tolerations": [],
}

PRESETS = {preset["name"]: preset for preset in (PAPER, LAPTOP)}
# Whose out-of-fold probabilities denoising reads, by `denoise_on`.
FOLDS_OF = {"text": ("text",), "image": ("image",), "both": ("text", "image")}
DENOISE_ON = tuple(FOLDS_OF)


def pretrained_configs(
    preset: dict[str, Any], *, image_weights: str = "", text_weights: str = ""
) -> dict[str, Any]:
    """The parameters that change where a preset of small models is given pretrained weights.

    The image network becomes the better of itself and a classifier on the weights' features, image folds use
    such a classifier, and another one is added to the texts'.

    Args:
        image_weights: a folder or URI with config.json and model.safetensors, or a name of timm's.
        text_weights: a folder, a URI or a name on the hub.

    Raises:
        InputError: the preset has pretrained weights of its own.
    """
    if (image_weights or text_weights) and preset is not LAPTOP:
        raise InputError("--image-weights and --text-weights go with the preset laptop, which has none")
    found: dict[str, Any] = {}
    if image_weights:
        scratch, *others = preset["image_configs"]
        frozen = {"name": "frozen-image", "kind": "frozen", **_image_source(image_weights)}
        # What fails where the weights are wrong comes before minutes of training.
        small = {key: value for key, value in scratch.items() if key != "cleaned"}
        candidates = [{**frozen, "refit": True}, small]
        best = {"name": "best-image", "kind": "best_of", "cleaned": True, "candidates": candidates}
        found |= {"image_fold_config": frozen, "image_configs": [best, *others]}
    if text_weights:
        frozen = {"name": "frozen-text", "kind": "frozen", "weights": text_weights, "refit": True}
        found["text_configs"] = [*preset["text_configs"], frozen]
    return found


def _image_source(weights: str) -> dict[str, str]:
    named = weights.startswith("hf-hub:") or "/" not in weights
    return {"backbone": weights} if named else {"weights": weights}
