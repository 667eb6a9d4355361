"""What one does around the pipeline: look at the machine, at the lock, at the history. No stage needs it."""
