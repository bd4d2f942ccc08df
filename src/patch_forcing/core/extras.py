"""How optional parts are installed, in a line that works here."""

import json
from importlib.metadata import PackageNotFoundError, distribution
from urllib.parse import unquote, urlparse


def install_line(extra: str) -> str:
    """`pip install …` for an extra: from the folder that the package was installed from, if it was
    one; a clone is no package of that name on PyPI.
    """
    try:
        origin = json.loads(distribution("patch-forcing").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        origin = {}
    url = urlparse(str(origin.get("url", "")))
    if url.scheme != "file":
        return f"pip install 'patch-forcing[{extra}]'"
    editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return f"pip install {editable}'{unquote(url.path)}[{extra}]'"
