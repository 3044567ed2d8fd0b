"""Presets: the pipeline's parameters as data.

`paper` holds what differs between its voters; every number that is not named here is the paper's own and
stands as the default of its configuration class, with the section it comes from. `laptop` needs no GPU,
no network and no pretrained weights.
"""

from typing import Any

PAPER: dict[str, Any] = {
    "denoise_on": "image",
    "text_fold_config": {
        "voter": "camembert-base",
        "weights": "almanach/camembert-base",
        "learning_rate": 5e-5,
        "batch_size": 64,
    },
    "image_fold_config": {
        "voter": "resnet50",
        "backbone": "resnet50",
        "weights": "imagenet",
        "epochs": 50,
        "dcl_epochs": 0,
    },
    # 3 text x 2 image x 2 fusion = 12 members (section 3.4).
    "text_configs": [
        {
            "voter": "camembert-base-64",
            "weights": "almanach/camembert-base",
            "learning_rate": 5e-5,
            "batch_size": 64,
        },
        {
            "voter": "camembert-base-128",
            "weights": "almanach/camembert-base",
            "learning_rate": 3e-5,
            "batch_size": 128,
        },
        {
            "voter": "camembert-large",
            "weights": "almanach/camembert-large",
            "learning_rate": 3e-5,
            "batch_size": 64,
        },
    ],
    "image_configs": [
        {"voter": "resnet152", "weights": "imagenet", "dcl_epochs": 0},
        {"voter": "resnet152-dcl", "weights": "imagenet", "cleaned": True, "dcl_epochs": 20},
    ],
    "fusion_configs": [
        {"voter": "linear", "kind": "linear"},
        {"voter": "mlp", "kind": "mlp"},
        {"voter": "concat", "kind": "concat"},
    ],
    "denoise_configs": {"image": {}, "text": {}, "both": {}},
    "ensemble_config": {"voter": "ensemble", "vote": "majority"},
    "accelerator_type": "nvidia.com/gpu",
    "accelerator_count": "1",
    # Nodes with GPUs are usually tainted so that nothing else lands there.
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
}

SMALL_RESNET: dict[str, Any] = {
    "voter": "small-resnet",
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
    "denoise_on": "text",
    "text_fold_config": {"voter": "tfidf", "kind": "linear", "features": 0},
    "image_fold_config": {**SMALL_RESNET, "epochs": 5},
    "text_configs": [
        {"voter": "tfidf", "kind": "linear", "refit": True},
        {"voter": "tfidf-cleaned", "kind": "linear", "cleaned": True, "refit": True},
    ],
    "image_configs": [
        {**SMALL_RESNET, "cleaned": True, "epochs": 12, "balance": 0.5},
        {"voter": "colour-histogram", "kind": "colours", "cleaned": True, "refit": True},
    ],
    "fusion_configs": [
        {"voter": "linear", "kind": "linear"},
        {"voter": "mlp", "kind": "mlp"},
        {"voter": "logistic", "kind": "logistic"},
        {"voter": "mean", "kind": "mean"},
        {"voter": "product", "kind": "product"},
        {"voter": "concat", "kind": "concat"},
        {"voter": "light", "kind": "light", "refit": True},
        {"voter": "light-cleaned", "kind": "light", "cleaned": True, "refit": True},
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
        "voter": "ensemble",
        "vote": "soft",
        "feature_level": {"light": 0.2, "light-cleaned": 0.2},
    },
    "accelerator_type": "",
    "accelerator_count": "0",
    "tolerations": [],
}

PRESETS = {"paper": PAPER, "laptop": LAPTOP}
DENOISE_ON = ("text", "image", "both")
