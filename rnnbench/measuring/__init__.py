"""Conductor (parent), worker (child) and the protocol between them.

The parent never measures and never imports a framework; the child never decides.
"""
