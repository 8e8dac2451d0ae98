"""The server most people write: FastAPI, a pydantic model of nested lists, the SavedModel's signature, ``tolist``.

Usage: ``fastapi_server.py SAVED_MODEL PORT def|async``. ``def`` runs each request in the framework's thread pool,
``async`` runs it on the event loop; both are in wide use, so both are measured. Annotations are not postponed here:
FastAPI has to see a class made in a function.
"""

import sys
from typing import Any

import numpy as np
import tensorflow as tf
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


def nested(number: type, rank: int) -> Any:
    """Lists of lists of numbers, ``rank`` deep."""
    return list[nested(number, rank - 1)] if rank else number  # type: ignore[misc]  # the rank is known only now


def make_app(saved_model: str, endpoint: str) -> FastAPI:
    """The application; ``endpoint`` is ``def`` or ``async``."""
    model = tf.saved_model.load(saved_model)
    infer = model.signatures["serving_default"]
    ((input_name, spec),) = infer.structured_input_signature[1].items()
    (output_name,) = infer.structured_outputs

    class PredictRequest(BaseModel):
        inputs: nested(int if spec.dtype.is_integer else float, len(spec.shape))  # type: ignore[valid-type]

    app = FastAPI()
    app.state.model = model

    def answer(request: PredictRequest) -> dict[str, Any]:
        tensor = tf.constant(np.array(request.inputs, dtype=spec.dtype.as_numpy_dtype))
        outputs = infer(**{input_name: tensor})
        return {"predictions": outputs[output_name].numpy().tolist()}

    if endpoint == "def":

        @app.post("/predict")
        def predict(request: PredictRequest) -> dict[str, Any]:
            return answer(request)

    else:

        @app.post("/predict")
        async def predict_on_the_loop(request: PredictRequest) -> dict[str, Any]:
            return answer(request)

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(sys.argv[1], sys.argv[3]), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
