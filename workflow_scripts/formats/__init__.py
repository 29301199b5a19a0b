"""Files of the field: one module a format, which checks what it reads; no method, no torch."""
