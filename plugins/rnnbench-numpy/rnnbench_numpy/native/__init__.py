"""Backpropagation through time derived by hand, vectorised over batch, gates and, where possible, time."""
