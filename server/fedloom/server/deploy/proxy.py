"""The reverse proxy: nginx, which lets sites reach Flower's Fleet interface and nothing else.

Flower 1.41 serves three interfaces on one port, of which two know no authentication: who reaches
them may start runs and register nodes. Sites need ten methods of the third.
"""

from pathlib import Path

from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.settings import ServerSettings
from fedloom.shared.errors import DeployError
from fedloom.shared.files import make_folder

# The Fleet methods of a node that was registered by the coordinator; registering is none of them.
FLEET_METHODS = (
    "activate-node",
    "deactivate-node",
    "send-node-heartbeat",
    "pull-messages",
    "push-messages",
    "get-run",
    "get-fab",
    "push-object",
    "pull-object",
    "confirm-message-received",
)
_FOLDERS = ("body", "proxy", "fastcgi", "uwsgi", "scgi")
# Flower sends objects in pieces of 5 MB, and its server holds a whole body before it looks
# who sends it.
_BODY = "16m"
# A node polls twice a second and sends pieces of 5 MB: fifty of them behind one address, with
# updates of hundreds of MB on a fast line, stay below this. What is not for nodes is asked by
# nobody but doctors and strangers.
_NODES = "rate=300r/s"
_NODES_AT_ONCE = 3000
_STRANGERS = "rate=5r/s"
_STRANGERS_AT_ONCE = 30
# Flower's node sends and fetches two objects at a time.
_REQUESTS_OF_ONE_PEER = 32
_CONNECTIONS = 4096


def access_log(home: ServerHome) -> Path:
    """A line of JSON for each request that was not answered as a node hopes."""
    return home.logs / "door.log"


def older_log(home: ServerHome) -> Path:
    """What the access log was before it grew too long."""
    return home.logs / "door.log.1"


def make_folders(home: ServerHome) -> None:
    """The folders that nginx wants to be there."""
    for name in _FOLDERS:
        make_folder(home.proxy / name)


def nginx_config(home: ServerHome, settings: ServerSettings) -> str:
    """The whole configuration, for nginx in the foreground and without privileges.

    Raises:
        DeployError: the folder's name is none that nginx takes.
    """
    temporary = "\n".join(f"  {name} {_quoted(path)};" for name, path in _temporary(home.proxy))
    locations = "\n".join(_location(method) for method in FLEET_METHODS)
    listen = f"[{settings.listen}]" if ":" in settings.listen else settings.listen
    return f"""\
# Made as the proxy starts; changes are written over.
daemon off;
worker_processes 1;
pid {_quoted(home.proxy / "nginx.pid")};
error_log stderr warn;
worker_rlimit_nofile {2 * _CONNECTIONS};
events {{ worker_connections {_CONNECTIONS}; }}
http {{
{temporary}
  log_format door escape=json '{{"time":"$time_iso8601","from":"$remote_addr","method":"$told_method","path":"$told_path","status":$status,"bytes_in":$request_length,"bytes_out":$bytes_sent,"seconds":$request_time}}';
  # These are a peer's words, and as long as it likes.
  map $request_uri $told_path {{ "~^(?<path>.{{0,100}})" $path; default ""; }}
  map $request_method $told_method {{ "~^(?<method>.{{0,10}})" $method; default ""; }}
  # Of refusals by limit, one in a hundred: else a flood would be written down after all.
  split_clients $request_id $one_in_a_hundred {{ 1% 1; * 0; }}
  map $status $told {{ "~^2" 0; 503 $one_in_a_hundred; default 1; }}
  access_log {_quoted(access_log(home))} door if=$told;
  server_tokens off;
  merge_slashes off;
  default_type text/plain;
  limit_conn_zone $binary_remote_addr zone=one_peer:1m;
  limit_conn_log_level info;
  limit_req_zone $binary_remote_addr zone=nodes:4m {_NODES};
  limit_req_zone $binary_remote_addr zone=strangers:4m {_STRANGERS};
  limit_req_log_level info;
  # A node tries again after 503, and after nothing else that a limit could say.
  limit_req_status 503;
  # Flower's server closes idle connections after 5 s.
  upstream superlink {{ server 127.0.0.1:{settings.superlink_port}; keepalive 16; keepalive_timeout 4s; }}
  server {{
    listen {listen}:{settings.port} ssl;
    ssl_certificate {_quoted(home.certificate)};
    ssl_certificate_key {_quoted(home.certificate_key)};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:tls:1m;
    ssl_session_tickets off;
    client_max_body_size {_BODY};
    client_body_buffer_size 1m;
    client_header_timeout 10s;
    client_body_timeout 30s;
    send_timeout 30s;
    keepalive_timeout 75s;
    limit_conn one_peer {_REQUESTS_OF_ONE_PEER};
    limit_req zone=nodes burst={_NODES_AT_ONCE} nodelay;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_ssl_verify on;
    proxy_ssl_verify_depth 1;
    proxy_ssl_trusted_certificate {_quoted(home.authority)};
    proxy_ssl_name localhost;
    proxy_ssl_server_name on;
    proxy_request_buffering off;
    proxy_buffers 16 64k;
    proxy_busy_buffers_size 128k;
    proxy_max_temp_file_size 0;
    proxy_connect_timeout 5s;
    proxy_send_timeout 60s;
    proxy_read_timeout 60s;
    proxy_next_upstream off;
{locations}
    # Never 401 or 403: a node takes them for the end of its run, or of itself. "return" would
    # come before the limit: so it is a file that is not there.
    location / {{ limit_req zone=strangers burst={_STRANGERS_AT_ONCE} nodelay; root /dev/null; try_files /none =404; }}
  }}
}}
"""  # noqa: E501


def _location(method: str) -> str:
    path = f"/v1/fleet/{method}"
    return (
        f"    location = {path} {{ if ($request_method != POST) {{ rewrite ^ /none last; }} "
        f"proxy_pass https://superlink{path}; }}"
    )


def _temporary(folder: Path) -> list[tuple[str, Path]]:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return [
        (f"{kind}_temp_path", folder / name) for kind, name in zip(kinds, _FOLDERS, strict=True)
    ]


def _quoted(path: Path) -> str:
    # In some of these places nginx takes $ for a variable, and nothing escapes it.
    if not str(path).isprintable() or set('"\\$') & set(str(path)):
        raise DeployError(f'{path}: expected a folder with no ", \\ or $ in its name, for nginx')
    return f'"{path}"'
