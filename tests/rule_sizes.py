"""Count the rules and lines of the rule files: python -m tests.rule_sizes."""

import re

from workflow_scripts.workflow.closure import ROOT

_RULE = re.compile(r"^\s*(?:use )?rule\b", flags=re.MULTILINE)


def sizes() -> dict[str, tuple[int, int]]:
    """Rules and lines of every rule file by its name; a rule in a loop counts once."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "rules").glob("*.smk"))}
    return {name: (len(_RULE.findall(text)), len(text.splitlines())) for name, text in texts.items()}


def main() -> None:
    """Print one line for each file, and the average."""
    counted = sizes()
    for name, (rules, lines) in counted.items():
        print(f"{name:32} {rules:3} rules {lines:5} lines")
    rules, lines = (sum(numbers) for numbers in zip(*counted.values(), strict=True))
    print(f"{'together':32} {rules:3} rules {lines:5} lines, {lines / rules:.1f} lines a rule")


if __name__ == "__main__":
    main()
