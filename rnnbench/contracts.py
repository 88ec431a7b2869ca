"""What a plugin implements, and the plain values that pass between it and the harness.

Nothing here imports a framework or computes anything. Arrays at this door are NumPy arrays,
batch-major: B sequences, T time steps, I input features, H hidden units, O outputs, V tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np

from rnnbench.choices import Attention, DropoutKind, Dtype, Loss, Merge, Norm, Optimizer, Readout

if TYPE_CHECKING:
    from rnnbench.cells.ops import Array, Ops

API_VERSION = 1

Parameters = Mapping[str, np.ndarray]
State = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes from which a cell's parameters and states are shaped.

    ``projection``: output features P, for cells whose output is a projection of their hidden units; None:
    the cell's own choice.
    """

    input: int
    hidden: int
    projection: int | None = None


class Cell(Protocol):
    """What a layer is made of: pure, stateless, hashable, written once over ``ops`` (see ``rnnbench.cells``).

    Either a ``RecurrentCell`` or a ``SequenceCell``.
    """

    def __hash__(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def gates(self) -> tuple[str, ...]: ...
    @property
    def paper(self) -> str: ...

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """Parameter name -> shape, with a named gate axis G: W_x (I,G,H), W_h (H,G,H), b (G,H).

        W_h has a row for each feature that is fed back, which are P for cells that project their output.
        """
        ...

    def state_shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """State name -> shape of one sequence's state, the batch axis left out."""
        ...

    def output_size(self, sizes: Sizes) -> int:
        """Features of ``y``."""
        ...


class RecurrentCell(Cell, Protocol):
    """A cell that computes one time step after the other, and passes a state on."""

    def project(self, ops: Ops, p: Mapping[str, Array], x: Array) -> dict[str, Array]:
        """The part of the input that is pointwise in time: x (T,B,I) -> {name: (T,B,...)}.

        What all sequences share may be (T,1,...).
        """
        ...

    def step(
        self, ops: Ops, p: Mapping[str, Array], u: Mapping[str, Array], state: Mapping[str, Array]
    ) -> tuple[dict[str, Array], Array]:
        """One time step: u {name: (B,...)}, state {name: (B,...)} -> (new state, y (B,output_size))."""
        ...


@runtime_checkable
class SequenceCell(Cell, Protocol):
    """A layer that computes all steps at once and has no state: ``state_shapes`` is empty.

    It is causal: y_t depends on no x later than t. So padding, which stands behind a sequence, reaches
    none of its steps, and ``over`` need not know of lengths.
    """

    def over(self, ops: Ops, p: Mapping[str, Array], x: Array) -> Array:
        """x (T,B,I) -> y (T,B,output_size)."""
        ...


@runtime_checkable
class StartingCell(Cell, Protocol):
    """A cell whose paper says how some of its parameters start."""

    def start(self, sizes: Sizes, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Initial values of these parameters (float64), instead of those of the network's initialiser."""
        ...


@runtime_checkable
class FixedCell(Cell, Protocol):
    """A cell whose parameters stay as they start, such as a reservoir: only the readout learns, by ridge."""

    @property
    def fixed(self) -> tuple[str, ...]:
        """Names of these parameters: ``project`` and ``step`` stop their gradients, so they are zero."""
        ...


@runtime_checkable
class AffineCell(RecurrentCell, Protocol):
    """A cell that is linear in its state: s_t = a_t ⊙ s_{t-1} + b_t, with a and b from the inputs.

    So all steps can be computed at once, by an associative scan over time. With ``complex_state`` the last
    axis (2) of states, a and b holds real and imaginary part, and ⊙ multiplies complex numbers.
    """

    @property
    def complex_state(self) -> bool: ...

    def affine(
        self, ops: Ops, p: Mapping[str, Array], u: Mapping[str, Array], before: Mapping[str, Array]
    ) -> dict[str, tuple[Array | None, Array]]:
        """Of all steps, u {name: (T,B,...)}: state name -> (a, b), both (T,B,...).

        a may also be (T,1,...) if it is the same for all sequences, and None if it is 0: nothing is kept of
        the state before.

        ``before`` holds what is known already of the states before each step, (T,B,...): nothing at first.
        Each call gives states that are not in ``before``: one whose coefficients need another state comes
        in a later call, until all are known.
        """
        ...

    def read(
        self,
        ops: Ops,
        p: Mapping[str, Array],
        u: Mapping[str, Array],
        before: Mapping[str, Array],
        after: Mapping[str, Array],
    ) -> Array:
        """y (T,B,output_size) of all steps from the states before and after each."""
        ...


@dataclass(frozen=True, slots=True)
class DecoderSpec:
    """The second half of an encoder–decoder network, which puts out tokens: see ``rnnbench.cells.decoding``.

    ``embedding``: width in which the tokens that it has put out are fed back. ``input_feeding``: for Luong's
    attention, what the head read is fed back too.
    """

    embedding: int
    attention: Attention = "none"
    input_feeding: bool = False


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """The static structure of a network: all that decides which kernel a framework takes.

    ``input_size`` is the number of features I of ``inputs`` (B,T,I), or, where ``vocab`` is given,
    the width of the embedding and ``inputs`` are integer tokens (B,T). ``lengths`` says whether
    batches carry lengths. ``readout`` feeds the head from the last valid step ("last") or from
    every step ("each"). ``projection`` is that of ``Sizes``. ``residual``, ``norm`` and
    ``dropout`` (the share that is dropped) act between layers: see ``rnnbench.cells.composing``. Of a norm
    over the batch running statistics are parameters whose gradient is 0; ``train_step`` moves them.

    ``window`` truncates back-propagation: each direction's T steps are cut into windows of so many, counted
    back from the step that it reads last; states are carried from one to the next, gradients are not, and
    those of all windows are summed. None, or T and more: full.

    With a ``decoder`` all of this is the encoder, but for ``cell``, ``hidden`` and ``layers``, which both
    halves have; readout is "each", of the decoder's S steps, and loss "cross_entropy".
    """

    cell: str
    input_size: int
    hidden: int
    output_size: int
    readout: Readout
    loss: Loss
    layers: int = 1
    bidirectional: Merge = "none"
    vocab: int | None = None
    lengths: bool = False
    window: int | None = None
    projection: int | None = None
    residual: bool = False
    norm: Norm = "none"
    dropout: float = 0.0
    dropout_kind: DropoutKind = "between"
    decoder: DecoderSpec | None = None

    @property
    def directions(self) -> tuple[str, ...]:
        return ("forward",) if self.bidirectional == "none" else ("forward", "backward")

    @property
    def composed(self) -> bool:
        """Whether something stands between layers that a kernel of all layers at once does not know."""
        return self.residual or self.norm != "none" or self.dropout > 0


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """How parameters are updated: the arithmetic is defined in ``rnnbench.training``.

    ``clip`` bounds the global norm of the gradient of all canonical parameters; None: no clipping.
    ``l2``: λ of the penalty (λ/2) Σ ‖W‖² over all kernels, which is part of the loss and of its gradient.
    """

    optimizer: Optimizer = "sgd"
    lr: float = 0.01
    clip: float | None = None
    l2: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One batch on the host.

    Shapes: inputs (B,T,I) float or (B,T) int32 tokens; lengths (B,) int32, each from 1 to T, or
    None; targets (B,) int32 or (B,O) float for readout "last", (B,T) int32 or (B,T,O) float for
    "each". ``state`` holds initial states {"layers.0.forward.h": (B,H)}; None: zeros.
    ``dropout`` holds what the input of a layer is multiplied with in ``gradients`` and ``train_step``,
    and never in ``forward``: {"layers.1": (B,T,F) or, the same at all steps, (B,1,F)}; None: nothing.
    What stands behind a sequence's length is padding and may be anything, NaN included.

    For a decoder targets are (B,S) int32 classes, of which ``target_lengths`` (B,) int32, never None, are
    valid; ``lengths`` are the source's. ``decoder_inputs`` (B,S) int32 are the tokens that it is fed, O (the
    number of classes) being the start: teacher forcing. None: it is fed what it puts out: greedy decoding.
    """

    inputs: np.ndarray
    targets: np.ndarray
    lengths: np.ndarray | None = None
    state: State | None = None
    dropout: Mapping[str, np.ndarray] | None = None
    target_lengths: np.ndarray | None = None
    decoder_inputs: np.ndarray | None = None

    @property
    def output_lengths(self) -> np.ndarray | None:
        """Valid steps of outputs that have a time axis: those of the targets where they have their own."""
        return self.lengths if self.target_lengths is None else self.target_lengths


@dataclass(frozen=True, slots=True)
class Settings:
    """What a session is opened with. ``threads`` has been pinned by the worker before the import.

    ``optimize`` False: nothing will be timed, so a compiler may take the shortest way to the same numbers.
    """

    device: str = "cpu"
    dtype: Dtype = "float32"
    threads: int = 1
    optimize: bool = True


class Network(Protocol):
    """A built network. Values that it returns stay on its device until ``fetch``."""

    @property
    def path(self) -> str:
        """The kernel path really taken, in words: "oneDNN LSTM", "ATen loop", "lax.scan", ..."""
        ...

    def put(self, batch: Batch) -> Any:
        """Host -> device, in the layout that the implementation likes. Outside the clock."""
        ...

    def forward(self, batch: Any) -> tuple[Any, Any]:
        """Of a batch that ``put`` returned: y (B,O) or (B,T,O), and the final state by name (B,...)."""
        ...

    def gradients(self, batch: Any) -> tuple[Any, Any]:
        """Loss (scalar) and the gradient of every canonical parameter by name, without an update."""
        ...

    def train_step(self, batch: Any) -> Any:
        """One update of the parameters; returns the loss before it. Does not wait for the device."""
        ...

    @property
    def step_path(self) -> str:
        """The kernel path of ``step``, which is seldom that of whole sequences."""
        ...

    def put_steps(self, batch: Batch) -> tuple[Sequence[Any], Any]:
        """Host -> device for ``step``: T inputs (B,I) or (B,), and the batch's ``state``, before the first.

        Lengths and targets do not matter here. Raises ``Unsupported`` where a direction runs backward.
        """
        ...

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """One time step: outputs (B,O), and the state after it in a form of this network's own.

        Neither x nor the state given is changed. Does not wait for the device.
        """
        ...

    def sync(self, value: Any) -> None:
        """The barrier: return when ``value`` and all work before it are done."""
        ...

    def fetch(self, value: Any) -> Any:
        """A value of this network (array, tuple or dict of arrays) as NumPy arrays on the host."""
        ...

    def parameters(self) -> dict[str, np.ndarray]:
        """The present parameters, canonical names and shapes."""
        ...

    def compilations(self) -> int:
        """Compilations or traces so far; 0 where the framework does not compile."""
        ...

    def compile_times(self) -> Mapping[str, float]:
        """Seconds of "trace" and of "compile" so far in this process; empty where the framework tells not."""
        ...

    def memory(self) -> int | None:
        """Peak bytes on the device since the last call; None where the device is the host."""
        ...


class Session(Protocol):
    """A framework, imported and configured in a worker."""

    def devices(self) -> tuple[str, ...]: ...
    def versions(self) -> dict[str, str]: ...
    def environment(self) -> dict[str, str]:
        """What else decides speed: thread counts, matmul precision, BLAS, flags."""
        ...

    def product(self, size: int) -> Callable[[], None]:
        """A call that multiplies two (size,size) matrices of the session's dtype, and waits for it."""
        ...

    def build(
        self, spec: NetworkSpec, parameters: Parameters, training: TrainingSpec, implementation: str
    ) -> Network:
        """A network from canonical parameters (float64; cast to the session's dtype).

        Raises ``Unsupported`` with a reason that a person understands.
        """
        ...


class Backend(Protocol):
    """Describes a framework and opens it; importing the plugin must not import the framework."""

    @property
    def name(self) -> str: ...
    @property
    def distributions(self) -> tuple[str, ...]:
        """Distributions of which one must be installed, e.g. ("tensorflow", "tensorflow-cpu")."""
        ...

    def implementations(self, cell: Cell) -> tuple[str, ...]:
        """Names of what this backend has for a cell, the preferred one first."""
        ...

    def open(self, settings: Settings, cells: Mapping[str, Cell]) -> Session:
        """Import the framework, in a worker. Raises ``Unavailable`` (package, device)."""
        ...


@dataclass(frozen=True, slots=True)
class Implementation:
    """A kernel of one's own for a cell on a backend: ``factory`` stands in for ``Session.build``.

    ``factory(session, spec, parameters, training) -> Network``.
    """

    backend: str
    cell: str
    name: str
    factory: Callable[[Session, NetworkSpec, Parameters, TrainingSpec], Network]


@dataclass(frozen=True, slots=True)
class TaskShape:
    """What a network must look like to learn a task at one length.

    ``features`` is I, or None where inputs are tokens (then ``vocab`` is given). ``decoder``: targets are
    sequences of a length of their own, put out token by token; the task is a ``SequenceTask``.
    """

    output_size: int
    readout: Readout
    loss: Loss
    metric: str
    higher_is_better: bool
    features: int | None = None
    vocab: int | None = None
    lengths: bool = False
    decoder: bool = False


@dataclass(frozen=True, slots=True)
class Baseline:
    """A score that a network has to beat, in the task's own metric."""

    name: str
    value: float


class TaskData(Protocol):
    """A task prepared for one length. Batches are pure functions of (seed, step): equal on all backends."""

    @property
    def shape(self) -> TaskShape: ...

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """Training batch number ``step`` (from 0), ``size`` sequences, never of the evaluation part."""
        ...

    def evaluation(self, size: int) -> Iterator[Batch]:
        """The held-out part in batches of ``size``, the last one perhaps smaller; always the same."""
        ...

    def score(self, pairs: Iterator[tuple[np.ndarray, Batch]]) -> float:
        """The metric over (outputs, batch) of the whole evaluation part; padding never counts."""
        ...

    def baselines(self) -> dict[Literal["trivial", "simple"], Baseline]:
        """Computed, not quoted: fitted on the training part, scored on the evaluation part."""
        ...


class Task(Protocol):
    """Something that a network learns."""

    @property
    def name(self) -> str: ...
    @property
    def about(self) -> str: ...
    @property
    def ranked(self) -> bool:
        """False for a negative control: shown, never ranked."""
        ...

    def prepare(self, length: int) -> TaskData:
        """Raises ``RequestError`` for a length that the data cannot give, ``Unavailable`` for absent data."""
        ...


@runtime_checkable
class SequenceTask(Task, Protocol):
    """A task whose answers are sequences of a length of their own: its networks have a decoder."""

    @property
    def answers(self) -> Literal["sequences"]: ...


@dataclass(frozen=True, slots=True)
class TaskDeclaration:
    """A task that a suite declares on the user's own data: a kind and its options."""

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
