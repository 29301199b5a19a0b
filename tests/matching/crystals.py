"""The crystals of the tests: the built-in ones, and halite."""

from pathlib import Path

from workflow_scripts.matching.simulation import crystals

BUILT_IN = (*crystals.BUILT_IN, "sodium_chloride")


def crystal(name: str) -> crystals.Crystal:
    """A built-in crystal, or halite with a round 5.640 Å and B of 1.5 Å² for both ions."""
    if name == "sodium_chloride":
        return crystals.read_crystal(Path(__file__).with_name("sodium_chloride.cif"))
    return crystals.load(name)
