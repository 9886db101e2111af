"""For the web site: links from the documents to files of the source become names of files.

On GitHub and in an editor such a link opens the file; the site has only the documents.
"""
from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+)([^)#\s]+)[^)]*\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """MkDocs calls it for each page."""
    depth = len(PurePosixPath(page.file.src_uri).parent.parts) + 1     # so many ../ lead out of docs/

    def plain(match: re.Match[str]) -> str:
        if match.group(2).count("../") < depth:
            return match.group(0)
        return f"`{match.group(3).rstrip('/')}`"

    return LINK.sub(plain, markdown)
