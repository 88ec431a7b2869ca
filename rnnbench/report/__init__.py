"""What a run says, as tables, figures, a page and the terminal. Reads results, measures nothing."""
