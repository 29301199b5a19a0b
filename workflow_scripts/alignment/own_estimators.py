"""What turns images into rows that are compared along the angle."""

from workflow_scripts.alignment.polar_alignment import amplitude_spectra
from workflow_scripts.alignment.streaming import Encode

ESTIMATORS: dict[str, Encode] = {"polar_joint": amplitude_spectra}
