"""`make docs`: every link in the documents leads somewhere, and the Python in them is Python."""
from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)


def documents() -> list[Path]:
    """Every document of the project."""
    return sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md"))


def anchors(document: Path) -> set[str]:
    """The names that a link may give after '#', as GitHub makes them."""
    text = FENCE.sub("", document.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text)}


def wrong_links(document: Path) -> Iterator[str]:
    """Links to files and headings that are not there."""
    for match in LINK.finditer(FENCE.sub("", document.read_text())):
        target = match.group(1) or match.group(2)
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (document.parent / name).resolve() if name else document
        if not file.exists():
            yield f"{document.relative_to(ROOT)}: {target}: no such file"
        elif anchor and file.suffix == ".md" and anchor not in anchors(file):
            yield f"{document.relative_to(ROOT)}: {target}: no such heading"


def wrong_code(document: Path) -> Iterator[str]:
    """Python examples that do not compile."""
    for match in FENCE.finditer(document.read_text()):
        if match.group(1) != "python":
            continue
        try:
            compile(match.group(2), str(document), "exec", dont_inherit=True)
        except SyntaxError as error:
            line = document.read_text()[:match.start()].count("\n") + 1 + (error.lineno or 0)
            yield f"{document.relative_to(ROOT)}:{line}: {error.msg}"


def main() -> None:
    """Say what is wrong; exit status 1 if anything is."""
    found = [text for document in documents() for check in (wrong_links, wrong_code) for text in check(document)]
    print("\n".join(found) if found else f"{len(documents())} documents: links and examples are in order")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
