"""Two revisions of a project, measured live and in turns: one verdict for a workflow.

A revision is a git worktree laid over the present environment, never a second installation. Nothing here
prints; the command line does.
"""
