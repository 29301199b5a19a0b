"""The methods of the study and what they share; every stage is a module run with ``python -m``."""
