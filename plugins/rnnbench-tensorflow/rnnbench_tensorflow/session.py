"""TensorFlow configured for one device, dtype and number of threads; builds networks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras  # type: ignore[import-untyped]
import tensorflow as tf  # type: ignore[import-untyped]

from rnnbench.cells.decoding import check_decoder
from rnnbench.cells.handling import refuse_unknown
from rnnbench.cells.network import stack_layers, unroll
from rnnbench.cells.placing import batch_outputs
from rnnbench.cells.scanning import check_affine, scan_layer
from rnnbench.contracts import Cell, NetworkSpec, Parameters, SequenceCell, Settings, TrainingSpec
from rnnbench.errors import Unavailable, Unsupported, nearest
from rnnbench_tensorflow.forms import HANDLED, keras_form
from rnnbench_tensorflow.native import KerasLayers
from rnnbench_tensorflow.network import TensorflowNetwork

IMPLEMENTATIONS = ("native", "portable", "compiled", "scan")


def open_session(settings: Settings, cells: Mapping[str, Cell]) -> TensorflowSession:
    """Configure the process; see ``TensorflowBackend.open``."""
    if keras.backend.backend() != "tensorflow":
        raise Unavailable(
            f'backend "tensorflow": Keras already runs on "{keras.backend.backend()}" in this process. '
            "Open TensorFlow in a process of its own."
        )
    if int(keras.__version__.split(".")[0]) < 3:
        raise Unavailable(
            f'backend "tensorflow": Keras {keras.__version__} is too old. pip install "keras>=3.12"'
        )
    tf.get_logger().setLevel("ERROR")
    present = list_devices()
    if settings.device not in present:
        raise Unavailable(
            f'backend "tensorflow": no device "{settings.device}". Here is: {", ".join(present)}.'
        )
    device = present[settings.device]
    _configure(partial(_set_threads, settings.threads), f"{settings.threads} threads")
    _configure(partial(_set_device, device), f'device "{settings.device}"')
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if not settings.optimize:
        # what rewrites graphs takes longer than a probe runs
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    return TensorflowSession(settings, cells, "CPU:0" if device is None else "GPU:0", tuple(present))


def list_devices() -> dict[str, Any]:
    """Name -> TensorFlow's physical GPU, None for the CPU: cpu, cuda, cuda:1, ... ("gpu" where not CUDA)."""
    kind = "cuda" if tf.test.is_built_with_cuda() else "gpu"
    gpus = tf.config.list_physical_devices("GPU")
    return {"cpu": None} | {kind if n == 0 else f"{kind}:{n}": gpu for n, gpu in enumerate(gpus)}


@dataclass(frozen=True, slots=True)
class TensorflowSession:
    """See ``rnnbench.contracts.Session``. ``placement`` is TensorFlow's own name of the device."""

    settings: Settings
    cells: Mapping[str, Cell]
    placement: str
    present: tuple[str, ...]

    def devices(self) -> tuple[str, ...]:
        """See Session."""
        return self.present

    def versions(self) -> dict[str, str]:
        """TensorFlow and Keras, and what a GPU build was made with."""
        build = tf.sysconfig.get_build_info()
        libraries = {
            name: str(build[f"{name}_version"]) for name in ("cuda", "cudnn") if f"{name}_version" in build
        }
        return {"tensorflow": str(tf.__version__), "keras": str(keras.__version__), **libraries}

    def environment(self) -> dict[str, str]:
        """Threads, precision and flags as TensorFlow has them now."""
        tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
        found = {
            "intra_op_threads": str(tf.config.threading.get_intra_op_parallelism_threads()),
            "inter_op_threads": str(tf.config.threading.get_inter_op_parallelism_threads()),
            "matmul_precision": "tf32" if tf32 else "highest",
            "xla": "in compiled",
            "TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "unset"),
        }
        gpus = tf.config.get_visible_devices("GPU")
        if gpus:
            details = tf.config.experimental.get_device_details(gpus[0])
            found["gpu"] = str(details.get("device_name", gpus[0].name))
        return found

    def product(self, size: int) -> Callable[[], None]:
        """See Session."""
        with tf.device(self.placement):
            a, b = (tf.random.uniform((size, size), -1, 1, self.settings.dtype) for _ in range(2))

        def multiply() -> None:
            # a barrier that copies nothing but one number
            tf.matmul(a, b)[0, 0].numpy()

        return multiply

    def build(
        self, spec: NetworkSpec, parameters: Parameters, training: TrainingSpec, implementation: str
    ) -> TensorflowNetwork:
        """See Session. Raises Unsupported for an unknown implementation and a cell without a Keras layer."""
        cell = self.cells.get(spec.cell)
        if cell is None:
            raise Unsupported(f'no cell "{spec.cell}". {nearest(spec.cell, self.cells)}')
        if implementation not in IMPLEMENTATIONS:
            raise Unsupported(
                f'backend "tensorflow" has no implementation "{implementation}". '
                f"Allowed: {', '.join(IMPLEMENTATIONS)}."
            )
        check_decoder(spec, implementation, "compiled")
        network = partial(TensorflowNetwork, cell, spec, parameters, training, self.settings, self.placement)
        if implementation != "native":
            scan, xla = implementation == "scan", implementation == "compiled"
            if scan:
                check_affine(cell)
            what = "all steps at once" if isinstance(cell, SequenceCell) else "the cell's step"
            words = "affine scan in chunks of √T steps" if scan else f"{what}, XLA" if xla else what
            stack = partial(stack_layers, layer=scan_layer if scan else unroll)
            return network(
                lambda ops, p, batch, *, training: batch_outputs(
                    ops, cell, spec, p, batch, stack, training=training
                ),
                words,
                time_major=True,
                xla=xla,
            )
        refuse_unknown(spec, HANDLED, by="layers of Keras")
        form = keras_form(cell)
        if form is None:
            raise Unsupported(f'Keras has no layer for cell "{spec.cell}"; use "portable"')
        with tf.device(self.placement):
            layers = KerasLayers.create(cell, spec, form, self.settings.dtype)
        return network(layers.outputs, form.words, time_major=False)


def _set_threads(threads: int) -> None:
    config = tf.config.threading
    if config.get_intra_op_parallelism_threads() != threads:
        config.set_intra_op_parallelism_threads(threads)
    if config.get_inter_op_parallelism_threads() != threads:
        config.set_inter_op_parallelism_threads(threads)


def _set_device(device: Any) -> None:
    # with a GPU in sight Keras tries cuDNN, and TensorFlow takes all of its memory
    wanted = [] if device is None else [device]
    if tf.config.get_visible_devices("GPU") != wanted:
        tf.config.set_visible_devices(wanted, "GPU")
    for gpu in wanted:
        tf.config.experimental.set_memory_growth(gpu, True)


def _configure(action: Callable[[], None], what: str) -> None:
    try:
        action()
    except RuntimeError as error:
        raise Unavailable(
            f'backend "tensorflow": this process already computes, and cannot change to {what}. '
            "Open it in a process of its own."
        ) from error
