"""Topology -> what its servers read: nginx, NATS and the resolvers.  Pure.  `run` is a folder for sockets and what is kept."""

from __future__ import annotations

from compose.topology import DNS, ZONE, Machine, Topology

_NGINX = """\
daemon off;
worker_processes 1;
pid {run}/nginx.pid;
error_log stderr;
events {{ worker_connections 512; }}
http {{
  access_log off;
  default_type text/plain;
  client_body_temp_path {run}/body;
  proxy_temp_path {run}/proxy;
  fastcgi_temp_path {run}/fastcgi;
  uwsgi_temp_path {run}/uwsgi;
  scgi_temp_path {run}/scgi;
  server {{
    listen 80 reuseport backlog=1024;
    add_header X-Site {place} always;
    add_header X-Server {name} always;
    location = /healthz {{ return 200 "well\\n"; }}
    location = /slow {{ limit_rate 1k; return 200 "{slow}"; }}
    location / {{ return 200 "{place} {name}\\n"; }}
  }}
}}
"""
_NATS = """\
server_name: {name}
listen: "0.0.0.0:4222"
pid_file: "{run}/nats.pid"
write_deadline: "2s"
ping_interval: "1s"  # a server that lost power is forgotten before it is back
ping_max: 2
jetstream {{ store_dir: "{run}/store", max_memory_store: 64MB, max_file_store: 512MB }}
cluster {{ name: lab, listen: "0.0.0.0:6222", no_advertise: true, routes: [{routes}] }}
"""
_UNBOUND = """\
server:
  chroot: ""
  username: ""
  pidfile: ""
  directory: "{run}"
  use-syslog: no
  num-threads: 1
  interface: 0.0.0.0
  access-control: 0.0.0.0/0 allow
  module-config: "subnetcache iterator"
  send-client-subnet: {dns}
  max-client-subnet-ipv4: 24
remote-control:
  control-enable: no
stub-zone:
  name: "{zone}"
  stub-addr: {dns}
"""
_RECURSOR = """\
local-address=0.0.0.0
socket-dir={run}
setuid=
setgid=
daemon=no
dnssec=off
dont-query=
allow-from=0.0.0.0/0
forward-zones={zone}={dns}
# by anycast the next query may well meet another site
dont-throttle-netmasks={dns}
edns-subnet-allow-list={zone}
ecs-add-for=0.0.0.0/0
ecs-ipv4-bits=24
ecs-ipv4-cache-bits=24
ecs-minimum-ttl-override=1
threads=1
pdns-distributes-queries=no
disable-packetcache=yes
loglevel=4
webserver=no
security-poll-suffix=
"""


def nginx(machine: Machine, run: str) -> str:
    """nginx.conf of a server, which tells in each reply who and where it is."""
    return _NGINX.format(name=machine.name, place=machine.place, run=run, slow="slow " * 400)


def nats(topology: Topology, machine: Machine, run: str) -> str:
    """nats.conf of a server of the cluster."""
    others = [one for one in topology.running("nats") if one != machine]
    return _NATS.format(name=machine.name, run=run, routes=", ".join(f'"nats://{one.address}:6222"' for one in others))


def unbound(run: str) -> str:
    """unbound.conf."""
    return _UNBOUND.format(dns=DNS, zone=ZONE, run=run)


def recursor(run: str) -> str:
    """recursor.conf of the PowerDNS recursor."""
    return _RECURSOR.format(dns=DNS, zone=ZONE, run=run)
