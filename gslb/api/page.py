"""The page at `/`: three static files of this package, read once."""

from __future__ import annotations

from importlib import resources

from aiohttp import web

_FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
PATHS = tuple(_FILES)


class Page:
    """Handler of the files' paths."""

    def __init__(self) -> None:
        folder = resources.files("gslb.api") / "files"
        self._files = {path: (folder / name).read_bytes() for path, (name, _) in _FILES.items()}

    async def file(self, request: web.Request) -> web.Response:
        """One file."""
        return web.Response(body=self._files[request.path], content_type=_FILES[request.path][1], charset="utf-8")
