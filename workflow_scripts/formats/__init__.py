"""Readers and writers of file formats, one module per format, which check what they read; no method, no torch."""
