"""From safetensors files to a decoder's weights on a device."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from model.decoder import DecoderWeights, LayerWeights, NormWeights
from model.decoder_config import DecoderConfig
from model.errors import WeightsCorruptError
from model.families import LayerTensors, Norm, Projection, decoder_tensors
from model.safetensors_files import check_directory
from model.torch_linear import Linear, PlainLinear, WeightFormat, make_linear


class TensorFiles:
    """The tensors of a model directory, mapped; use as a context manager.

    Raises ``WeightsCorruptError`` when entered.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = ExitStack()
        self._files: dict[str, Any] = {}

    @property
    def names(self) -> Collection[str]:
        """The names of all tensors."""
        return self._files.keys()

    def read(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return a tensor as the file holds it; check its shape."""
        tensor: Tensor = self._files[name].get_tensor(name)
        if tensor.shape != shape or not tensor.is_floating_point():
            raise WeightsCorruptError(
                f"{name} in {self._directory} is {tensor.dtype} of "
                f"{tuple(tensor.shape)} and should be numbers of {shape}.",
                hint="Fetch or convert the model again.",
            )
        return tensor

    def __enter__(self) -> TensorFiles:
        try:
            for path in check_directory(self._directory):
                file = self._stack.enter_context(safe_open(path, "pt"))
                self._files |= dict.fromkeys(file.keys(), file)
        except SafetensorError as error:
            self._stack.close()
            raise WeightsCorruptError(
                f"The weights in {self._directory} cannot be read ({error}).",
                hint="Fetch or convert the model again.",
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()


class WeightLoader:
    """Reads a decoder's parts, in ``dtype``, quantised to ``kind`` one by one.

    So no more than a layer is ever held in the file's own format.
    """

    def __init__(
        self,
        config: DecoderConfig,
        files: TensorFiles,
        device: torch.device,
        dtype: torch.dtype,
        kind: WeightFormat,
    ) -> None:
        self._config = config
        self._files = files
        self._device = device
        self._dtype = dtype
        self._kind = kind

    @torch.inference_mode()
    def load(self) -> DecoderWeights:
        """Return all weights. Raises ``WeightsCorruptError``."""
        config = self._config
        tensors = decoder_tensors(config, self._files.names)
        table = (config.vocab_size, config.hidden_size)
        embedding = self._read(tensors.embedding, table)
        head = embedding
        if tensors.head != tensors.embedding:
            head = self._read(tensors.head, table)
            if config.tied_embeddings and torch.equal(head, embedding):
                head = embedding
        return DecoderWeights(
            embedding,
            self._norm(tensors.final_norm),
            self._head(head),
            tuple(self._layer(layer) for layer in tensors.layers),
        )

    def _head(self, weight: Tensor) -> Linear:
        if self._kind == "plain":
            return PlainLinear(weight, None)
        # What every error in the head costs is seen at once; llama.cpp's mixes of
        # formats spend more bits on it too.
        return make_linear(weight, None, "int8")

    def _layer(self, layer: LayerTensors) -> LayerWeights:
        config = self._config
        heads = config.num_heads * config.head_dim
        kv_heads = config.num_kv_heads * config.head_dim
        hidden, inner = config.hidden_size, config.intermediate_size
        qkv = (heads, kv_heads, kv_heads)
        if len(layer.qkv.weights) == 1:
            qkv = (heads + 2 * kv_heads,)  # type: ignore[assignment]
        return LayerWeights(
            attention_norm=self._norm(layer.attention_norm),
            mlp_norm=self._norm(layer.mlp_norm),
            head_norm=self._head_norm(layer),
            qkv=self._linear(layer.qkv, qkv, hidden),
            out=self._linear(layer.out, (hidden,), heads),
            up=self._linear(layer.up, (inner,) * len(layer.up.weights), hidden),
            down=self._linear(layer.down, (hidden,), inner),
        )

    def _head_norm(self, layer: LayerTensors) -> Tensor | None:
        if layer.query_norm is None or layer.key_norm is None:
            return None
        size = (self._config.head_dim,)
        query = self._read(layer.query_norm, size)
        key = self._read(layer.key_norm, size)
        return torch.cat(
            (
                query.expand(self._config.num_heads, -1),
                key.expand(self._config.num_kv_heads, -1),
            )
        )

    def _linear(
        self, projection: Projection, heights: tuple[int, ...], columns: int
    ) -> Linear:
        """Return one map; ``heights`` are the rows of each of its weights."""
        parts = zip(projection.weights, heights, strict=True)
        weight = _stack(
            [self._read(name, (rows, columns)) for name, rows in parts], projection
        )
        bias = None
        if projection.biases:
            parts = zip(projection.biases, heights, strict=True)
            bias = _stack(
                [self._read(name, (rows,)) for name, rows in parts], projection
            )
        return make_linear(weight, bias, self._kind)

    def _norm(self, norm: Norm) -> NormWeights:
        size = (self._config.hidden_size,)
        bias = None if norm.bias is None else self._read(norm.bias, size)
        return NormWeights(self._read(norm.weight, size), bias)

    def _read(self, name: str, shape: tuple[int, ...]) -> Tensor:
        return self._files.read(name, shape).to(self._device, self._dtype)


def _stack(parts: list[Tensor], projection: Projection) -> Tensor:
    """Put parts one below the other, rows in the order the decoder wants."""
    whole = parts[0] if len(parts) == 1 else torch.cat(parts)
    if projection.rows is None:
        return whole
    return whole[torch.tensor(projection.rows, device=whole.device)]
