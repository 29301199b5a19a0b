"""What a stage script needs from the workflow: settings, files, provenance, progress."""
