"""The nodes' pages on the host's loopback: `python -m compose.pages`, a proxy that adds the token.  IO: writes its file, becomes nginx.

It only reads, and only where the browser was told `localhost` or `127.0.0.1`: no page elsewhere on the web can use it.
"""

from __future__ import annotations

import os
from pathlib import Path

from compose.render import TOKEN
from compose.topology import Machine, Topology, lab

FIRST_PORT = 8081  # of the first node; the others follow
PID = Path("/tmp/pages.pid")  # noqa: S108  of the container, where nothing else may be written
_FILE = Path("/tmp/pages.conf")  # noqa: S108
_HEAD = """\
daemon off;
worker_processes 1;
pid {pid};
error_log stderr;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path /tmp/body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  proxy_set_header Authorization "Bearer {token}";
  proxy_buffering off;
  proxy_http_version 1.1;
  proxy_read_timeout 1h;
  proxy_connect_timeout 2s;
  server {{ listen {ports} default_server; return 421; }}
"""
_PAGE = """\
  server {{
    listen {port};
    server_name localhost 127.0.0.1;
    location / {{ limit_except GET {{ deny all; }} proxy_pass http://{address}:8053; }}
  }}
"""


def ports(topology: Topology) -> dict[str, int]:
    """Node -> the port of its page."""
    return {node.name: FIRST_PORT + number for number, node in enumerate(topology.running("gslb"))}


def nginx(topology: Topology) -> str:
    """nginx.conf."""
    found = ports(topology)
    listen = " default_server; listen ".join(str(port) for port in found.values())
    nodes: list[Machine] = [topology.by_name[name] for name in found]
    pages = "".join(_PAGE.format(port=found[node.name], address=node.address) for node in nodes)
    return _HEAD.format(pid=PID, token=TOKEN.strip(), ports=listen) + pages + "}\n"


if __name__ == "__main__":
    _FILE.write_text(nginx(lab()))
    os.execvp("nginx", ["nginx", "-e", "stderr", "-c", str(_FILE)])  # noqa: S606  no shell is wanted
