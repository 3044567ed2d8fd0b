"""A model package as a predictor of KServe: its v1 and v2 protocols here, products there."""

import asyncio
import binascii
import struct
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from kserve import InferOutput, InferRequest, InferResponse, Model  # pyright: ignore[reportMissingImports]
from kserve.errors import InferenceError, InvalidInput  # pyright: ignore[reportMissingImports]
from kserve.protocol.dataplane import DataPlane  # pyright: ignore[reportMissingImports]

from components.core.errors import InputError
from components.core.reading import parse_json_object
from components.lifecycle.levels import ANSWER, ANSWER_LEVEL, ANSWER_PROBABILITY, answers_by_level
from components.serving.answers import Answering, Answers
from components.serving.products import FIELDS, products_of, rows_of

TEXT = "BYTES"
# What a model adds that answers at the deepest level of a tree of classes.
DEEPEST = {ANSWER: TEXT, ANSWER_LEVEL: "INT32", ANSWER_PROBABILITY: "FP32"}
# What KServe's own parsing raises on a request that is none.
MALFORMED = (
    *(AttributeError, LookupError, TypeError, ValueError, OverflowError, RecursionError),
    *(struct.error, binascii.Error, MemoryError, InferenceError),
)


class Predictor(Model):
    """Answers v1 requests (`instances`) and v2 requests (tensors `title`, `description`, ...)."""

    def __init__(self, name: str, answering: Answering) -> None:
        super().__init__(name)
        self._answering = answering
        self.ready = True

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """The answer in the protocol of the request.

        Raises:
            InvalidInput: the request is none, or an image cannot be used; it becomes status 400.
        """
        try:
            if isinstance(payload, InferRequest):
                answers = await self._answer(rows_of(_columns(payload)))
                return self._response(payload, answers)
            instances = _object(payload).get("instances")
            return {"predictions": (await self._answer(instances)).documents()}
        except InputError as error:
            raise InvalidInput(str(error)) from error

    async def _answer(self, instances: Any) -> Answers:
        # In a thread, so that who asks whether the server lives need not wait for a prediction.
        return await asyncio.to_thread(lambda: self._answering.answer(products_of(instances)))

    def _response(self, request: Any, answers: Answers) -> Any:
        columns = {
            "code": (TEXT, answers.codes[:, 0]),
            "name": (TEXT, answers.names[:, 0]),
            "probability": ("FP32", answers.probabilities[:, 0]),
            "top_code": (TEXT, answers.codes),
            "top_name": (TEXT, answers.names),
            "top_probability": ("FP32", answers.probabilities),
            "without_image": ("BOOL", answers.without_image),
            "flag": (TEXT, answers.flags),
            "decision": (TEXT, answers.decisions),
            **{name: (DEEPEST[name], values) for name, values in answers.deepest.items()},
        }
        outputs = []
        for name, (datatype, values) in columns.items():
            outputs.append(InferOutput(name, list(values.shape), datatype))
            outputs[-1].set_data_from_numpy(values, binary_data=False)
        return InferResponse(
            request.id or uuid.uuid4().hex, self.name, outputs, model_version=self._answering.model.version
        )

    def get_input_types(self) -> list[dict[str, Any]]:
        """The tensors of a v2 request, all but the title optional."""
        return [{"name": name, "datatype": TEXT, "shape": [-1]} for name in FIELDS]

    def get_output_types(self) -> list[dict[str, Any]]:
        """The tensors of a v2 answer."""
        one, top = [-1], [-1, -1]
        deepest = DEEPEST if answers_by_level(self._answering.model) else {}
        return [
            {"name": "code", "datatype": TEXT, "shape": one},
            {"name": "name", "datatype": TEXT, "shape": one},
            {"name": "probability", "datatype": "FP32", "shape": one},
            {"name": "top_code", "datatype": TEXT, "shape": top},
            {"name": "top_name", "datatype": TEXT, "shape": top},
            {"name": "top_probability", "datatype": "FP32", "shape": top},
            {"name": "without_image", "datatype": "BOOL", "shape": one},
            {"name": "flag", "datatype": TEXT, "shape": one},
            {"name": "decision", "datatype": TEXT, "shape": one},
            *({"name": name, "datatype": kind, "shape": one} for name, kind in deepest.items()),
        ]


class StrictDataPlane(DataPlane):
    """Says 400 of a malformed request, where KServe's own parser lets its errors become status 500."""

    def decode(self, *arguments: Any, **named: Any) -> Any:
        try:
            return super().decode(*arguments, **named)
        except InvalidInput:
            raise
        except MALFORMED as error:
            raise InvalidInput(f"malformed request: {type(error).__name__}: {str(error)[:200]}") from error


def _object(payload: Any) -> Mapping[str, Any]:
    """The JSON object of a v1 request; KServe leaves one alone that is called a form, as curl has it.

    Raises:
        InputError: it is none.
    """
    if isinstance(payload, bytes):
        with suppress(ValueError, RecursionError):
            return parse_json_object(payload)
    if not isinstance(payload, Mapping):
        raise InputError('expected a JSON object with "instances"')
    return payload


def _columns(request: Any) -> dict[str, list[Any]]:
    """The values of a v2 request's tensors by name.

    Raises:
        InputError: a tensor is no list of texts.
    """
    columns = {}
    for tensor in request.inputs:
        if tensor.datatype != TEXT:
            raise InputError(f"input {tensor.name[:50]}: datatype {tensor.datatype[:20]}, expected {TEXT}")
        try:
            values: np.ndarray = tensor.as_numpy()
        except MALFORMED as error:
            raise InputError(
                f"input {tensor.name[:50]}: {type(error).__name__}: {str(error)[:200]}"
            ) from error
        columns[tensor.name] = values.reshape(-1).tolist()
    return columns
