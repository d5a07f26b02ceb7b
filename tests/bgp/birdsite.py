"""BIRD at a site, which announces the VIPs of the tests as it is told.  IO; needs root."""

from __future__ import annotations

from pathlib import Path

from tests.bgp.lab import OURS, THEIRS, Lab
from tests.bgp.routers import Bird

VIPS = {4: "203.0.113.53/32", 6: "2001:db8:53::53/128"}


class Announcer(Bird):
    """BIRD at a site: announces the VIPs as `say` is told."""

    def __init__(self, lab: Lab, site: str, folder: Path) -> None:
        self.lab, self.site = lab, site
        super().__init__(lab.sites[site], folder, self._text("accept;"))

    def announce(self, export: str) -> None:
        """Announce by another export filter."""
        self.config.write_text(self._text(export))
        assert "Reconfig" in self.say("configure")

    def _text(self, export: str) -> str:
        sessions = "".join(
            f"protocol static vip{version} {{ ipv{version}; route {vip} blackhole; }}\n"
            f"protocol bgp r{version} {{ local {self.lab.address(self.site, version)} as {OURS};\n"
            f"  neighbor {self.lab.gateway(self.site, version)} as {THEIRS}; hold time 9; connect delay time 1;\n"
            f"  ipv{version} {{ import none; next hop self; export filter {{ {export} }}; }}; }}\n"
            for version, vip in VIPS.items()
        )
        return f"router id {self.lab.address(self.site)};\nprotocol device {{}}\nlog stderr all;\n{sessions}"
