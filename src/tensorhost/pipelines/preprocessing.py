"""The chain of steps between what a client sends and what the model takes.

A pipeline is built once for a signature and a set of options and is then immutable; requests with options of their
own get a variant, kept for the next request that asks the same. Everything that the signature alone can refute is
refused when the pipeline is built. It runs per request, before rows of several requests are merged, so one
client's options never touch another's rows.

Order: decode and resize, scale, min-max, mean, std, tokenize, conversion to the signature's dtypes, custom step.
Numeric steps apply to every floating input, or, where the signature has none, to every integer input; inputs that
the tokenizer feeds are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import ModelFailedError, TensorhostError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, Tensors, TensorSpec
from tensorhost.pipelines.custom import CustomFunction, load_custom_function, run_custom
from tensorhost.pipelines.images import relaxed_shape
from tensorhost.pipelines.input_chain import InputChain, bind_chains
from tensorhost.pipelines.options import PreprocessingOptions
from tensorhost.pipelines.text import TextEncoder
from tensorhost.pipelines.tokenize_step import TokenizeStep, bind_tokenizer

_VARIANTS = 64
_QUICK_ELEMENTS = 2**20
_QUICK_TEXT = 4096


class PreprocessingPipeline:
    """Turns the arrays a client sends into the arrays a signature takes.

    ``wire_specs`` says what the client must send: the signature's own inputs, except that an integer input with
    numeric steps takes float64, an image input with ``resize`` any height and width, and texts replace the inputs
    that a tokenizer feeds. An image input also takes encoded images: an object array of bytes, one per row.
    """

    def __init__(
        self,
        options: PreprocessingOptions,
        signature: Signature,
        *,
        folder: Path | None = None,
        tokenizer: TextEncoder | None = None,
        custom: CustomFunction | None = None,
        max_elements: int = 2**27,
    ) -> None:
        """Bind ``options`` to ``signature``. Blocks while the tokenizer and the custom step they name are loaded.

        Args:
            options: what to do, from model.toml.
            signature: what the model takes.
            folder: the model's folder, from which the tokenizer file is read.
            tokenizer: a tokenizer read already, instead of the file.
            custom: a function to use instead of importing the one that ``options.entry_point`` names.
            max_elements: most elements of an array that decoding, resizing or tokenizing may make.

        Raises:
            InvalidPreprocessingError: a step fits no input, or contradicts the signature, or there is no tokenizer
                file in the folder; names the field.
            RuntimeMissingError: tokenizing needs a package that is not installed.
            ModelFailedError: the tokenizer or the custom step cannot be loaded.
        """
        if tokenizer is None and options.tokenize is not None and folder is not None:
            tokenizer = TextEncoder.load(folder, options.tokenize.file)
        if custom is None and options.entry_point is not None:
            custom = load_custom_function(options.entry_point)
        self.signature = signature
        self.options = options
        self._custom = custom
        text = bind_tokenizer(signature, options.tokenize, tokenizer, max_elements) if options.tokenize else None
        free = {name: spec for name, spec in signature.inputs.items() if text is None or name not in text.fed}
        self._text = text
        self._chains = bind_chains(free, options, max_elements)
        self._wire = _wire_specs(signature, text, self._chains)
        self._may_be_images = {name for name, chain in self._chains.items() if not chain.spec.dtype.is_string}
        self._untouched = options.decode is None and options.resize is None and not options.has_numeric_steps
        self._untouched = self._untouched and text is None and custom is None
        build = partial(
            PreprocessingPipeline, signature=signature, tokenizer=tokenizer, custom=custom, max_elements=max_elements
        )
        self._variant = lru_cache(maxsize=_VARIANTS)(build)

    @property
    def wire_specs(self) -> Mapping[str, TensorSpec]:
        """What the client must send, by name."""
        return self._wire

    def overridden(self, raw: object, *, path: str = "preprocessing") -> PreprocessingPipeline:
        """The pipeline for a request whose options are ``raw`` (a JSON object; None for no options).

        Raises:
            InvalidPreprocessingError: the options are invalid or do not fit the signature.
        """
        if raw is None:
            return self
        options = PreprocessingOptions.from_request(raw, self.options, path=path)
        return self if options == self.options else self._variant(options)

    def passes(self, tensors: Tensors) -> bool:
        """Whether ``apply`` hands ``tensors`` on as they are: there is nothing to do, and none of them is an image."""
        return self._untouched and not self._holds_images(tensors)

    def is_slow(self, tensors: Tensors) -> bool:
        """Whether ``apply`` may take a millisecond or more and so does not belong on an event loop.

        A guess from kinds and sizes, in about a microsecond: images, resizing and custom steps are slow, and so are
        long texts and arithmetic on a million elements.

        Args:
            tensors: what the client sent; names may be wrong.
        """
        if self._holds_images(tensors):
            return True
        if self._untouched:
            return False
        if self._custom is not None or self.options.resize is not None:
            return True
        if self._text is not None and self._text.text_input in tensors:
            texts = tensors[self._text.text_input].ravel().tolist()
            if sum(len(text) for text in texts if isinstance(text, bytes | str)) > _QUICK_TEXT:
                return True
        return sum(array.size for array in tensors.values()) > _QUICK_ELEMENTS

    def apply(self, tensors: Tensors, *, owned: bool = False) -> Tensors:
        """Inputs for the model, of the signature's names, dtypes and shapes.

        Without steps and images the arrays pass untouched and unchecked: the caller checked them against
        ``wire_specs``, which then are the signature's inputs.

        Args:
            tensors: what the client sent, by the names of ``wire_specs``.
            owned: whether the caller gives the arrays up. Steps may then overwrite them; otherwise they are only
                read, and may be views of the request's body.

        Raises:
            InvalidPreprocessingError: a value or an image the steps cannot take.
            MissingInputError, UnknownInputError: names that ``wire_specs`` does not have, or not all it has.
            InvalidInputShapeError, InvalidInputTypeError: the result does not fit the signature.
            ModelFailedError: the custom step failed.
        """
        if self.passes(tensors):
            return tensors
        if tensors.keys() != self._wire.keys():
            Signature(self.signature.name, self._wire, {}).check_names(tensors)
        produced = {name: chain.run(tensors[name], owned=owned) for name, chain in self._chains.items()}
        if self._text is not None:
            produced |= self._text.run(tensors[self._text.text_input])
        if self._custom is not None:
            produced = self._run_custom(self._custom, produced)
        else:
            self._check(produced)
        return {name: produced[name] for name in self.signature.inputs}

    def _holds_images(self, tensors: Tensors) -> bool:
        # A plain loop: a generator costs every request more than what it looks at.
        for name, array in tensors.items():  # noqa: SIM110
            if array.dtype.hasobject and name in self._may_be_images:
                return True
        return False

    def _run_custom(self, function: CustomFunction, tensors: Tensors) -> dict[str, Array]:
        produced = run_custom(function, tensors)
        try:
            self._check(produced)
        except TensorhostError as error:
            raise ModelFailedError(
                "The model's custom step returned arrays that the model does not take.", log_detail=error.message
            ) from error
        return produced

    def _check(self, tensors: Tensors) -> None:
        self.signature.check_names(tensors)
        for name, spec in self.signature.inputs.items():
            spec.check(tensors[name])


def _wire_specs(
    signature: Signature, text: TokenizeStep | None, chains: Mapping[str, InputChain]
) -> Mapping[str, TensorSpec]:
    wire = {}
    for name in signature.inputs:
        chain = chains.get(name)
        if chain is None:
            if text is not None:
                wire[text.text_input] = text.wire_spec
            continue
        spec = chain.spec
        dtype = DType.FLOAT64 if chain.arithmetic and spec.dtype.is_integer else spec.dtype
        shape = relaxed_shape(spec, chain.image.layout) if chain.resized and chain.image.layout else spec.shape
        wire[name] = TensorSpec(name, dtype, shape)
    return MappingProxyType(wire)
