"""Infrastructure of all stage scripts: settings, command line, files, provenance, progress."""
