"""The cells that ship with rnnbench. Each is written once, over ``ops``, and runs on every backend."""

from __future__ import annotations

from collections.abc import Sequence

from rnnbench.cells.antisymmetric import Antisymmetric
from rnnbench.cells.cornn import CoRNN
from rnnbench.cells.elman import ELMAN_CELLS
from rnnbench.cells.esn import ESN
from rnnbench.cells.feed_forward import FeedForward
from rnnbench.cells.gru import GRU, GRUResetBefore
from rnnbench.cells.gru_layer_norm import GRULayerNorm
from rnnbench.cells.indrnn import IndRNN
from rnnbench.cells.jordan import Jordan
from rnnbench.cells.ligru import LiGRU
from rnnbench.cells.lru import LRU
from rnnbench.cells.lstm import LSTM
from rnnbench.cells.lstm_coupled import LSTMCoupled
from rnnbench.cells.lstm_layer_norm import LSTMLayerNorm
from rnnbench.cells.lstm_no_forget import LSTMNoForget
from rnnbench.cells.lstm_peephole import LSTMPeephole
from rnnbench.cells.lstm_projected import LSTMProjected
from rnnbench.cells.mgu import MGU
from rnnbench.cells.mingru import MinGRU
from rnnbench.cells.minlstm import MinLSTM
from rnnbench.cells.qrnn import QRNN
from rnnbench.cells.sru import SRU
from rnnbench.cells.strongly_typed import StronglyTyped
from rnnbench.cells.tcn import TCN
from rnnbench.cells.transformer import Transformer
from rnnbench.contracts import Cell
from rnnbench.hookspecs import hookimpl


@hookimpl
def rnnbench_cells() -> Sequence[Cell]:
    """Built-in cells come through the same door as everybody's."""
    classical = (*ELMAN_CELLS, Jordan(), LSTM(), GRU(), GRUResetBefore(), MGU())
    lstms = (LSTMNoForget(), LSTMPeephole(), LSTMCoupled(), LSTMProjected())
    normalised = (LSTMLayerNorm(), GRULayerNorm())
    elementwise = (MinGRU(), MinLSTM(), QRNN(), SRU(), LRU(), StronglyTyped())
    others = (LiGRU(), IndRNN(), Antisymmetric(), CoRNN(), ESN())
    at_once = (FeedForward(), TCN(), Transformer())
    return (*classical, *lstms, *normalised, *elementwise, *others, *at_once)
