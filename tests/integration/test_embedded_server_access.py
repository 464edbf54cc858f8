"""The embedded server is its user's alone: who comes in, how, and what others may read of its files."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from tally.local import access
from tally.local.embedded_server import EmbeddedServer
from tally.local.server_binary import server_binary
from tally.redis_location import redis_url
from tally.runtime import Failure
from tally.settings import Settings
from tests.server import free_port
from tests.waiting import wait_until


def open_to_others(folder: Path) -> list[Path]:
    """What in a folder others of this machine may do something with."""
    return [path for path in folder.rglob("*") if path.lstat().st_mode & 0o077 and not path.is_symlink()]


def client(server: EmbeddedServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True, socket_timeout=30)


def too_long(folder: Path) -> Path:
    """A folder whose path no socket can have."""
    return folder / ("long" * 30)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def started(stack: ExitStack, folder: Path, *, port: int | None = None) -> EmbeddedServer:
    server = EmbeddedServer(folder, port=port)
    stack.callback(server.stop)
    server.start()
    return server


def test_it_listens_on_a_socket_alone_and_its_files_are_nobody_elses(tmp_path: Path, stack: ExitStack) -> None:
    data = tmp_path / "data"
    server = started(stack, data)
    assert server.url == f"unix://{data}/private/redis.sock"
    with client(server) as asking:
        assert asking.config_get("port") == {"port": "0"}
        asking.set("written", "1")
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert len(list(data.rglob("*"))) > 5
    assert open_to_others(data) == []
    assert redis_url(Settings(data_dir=data)) == server.url
    server.stop()
    assert open_to_others(data) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
@pytest.mark.parametrize("older", [False, True], ids=["new", "of an older version"])
def test_another_user_of_the_machine_does_not_come_in(stack: ExitStack, older: bool) -> None:
    folder = Path(tempfile.mkdtemp(prefix="tally-test-"))  # the tests' own folders are closed to others
    stack.callback(shutil.rmtree, folder)
    data = folder / "data"
    if older:
        first = started(stack, data)
        with client(first) as asking:
            asking.set("kept", "1")
        first.stop()
        for path in (data, *data.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
    folder.chmod(0o755)
    server = started(stack, data)
    program = f"""
import os, pathlib, socket
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    socket.socket(socket.AF_UNIX).connect({server.url.removeprefix("unix://")!r})
except PermissionError:
    print("closed")
for path in ("server.lock", "redis.url", "valkey.log", "appendonlydir"):
    try:
        found = pathlib.Path({str(data)!r}) / path
        list(found.iterdir()) if path == "appendonlydir" else found.read_text()
    except PermissionError:
        print("closed")
"""
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout.split(), done.stderr) == (["closed"] * 5, "")
    if older:
        with client(server) as asking:
            assert asking.get("kept") == "1"


@pytest.mark.slow
@pytest.mark.parametrize("why", ["it is asked for", "its path is too long", "there can be no socket"])
def test_a_tcp_port_has_a_password_which_no_command_line_tells(tmp_path: Path, stack: ExitStack, why: str) -> None:
    data = too_long(tmp_path) if "long" in why else tmp_path / "data"
    if "no socket" in why:
        (data / "private" / "redis.sock").mkdir(mode=0o700, parents=True)
    asked = free_port() if "asked" in why else None
    server = started(stack, data, port=asked)
    with client(server) as asking:
        port = int(str(asking.config_get("port")["port"]))
        assert asking.config_get("bind") == {"bind": "127.0.0.1"}
    assert port == (asked or port)
    password = server.url.removeprefix("redis://:").removesuffix(f"@127.0.0.1:{port}/0")
    assert len(password) == 64
    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert password.encode() not in each.read_bytes()
        except OSError:
            continue  # gone meanwhile
    assert open_to_others(data) == []
    assert redis_url(Settings(data_dir=data)) == server.url
    server.stop()
    if asked:
        assert started(stack, data, port=asked).url == server.url, "so that it may be noted down"


def test_a_port_that_is_taken_is_said(tmp_path: Path, stack: ExitStack) -> None:
    first = started(stack, tmp_path / "first", port=free_port())
    port = int(first.url.rpartition(":")[2].removesuffix("/0"))
    with pytest.raises(Failure, match=f"does not start: Failed listening on port {port}"):
        started(stack, tmp_path / "second", port=port)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["sockets", "ports"])
def test_many_may_start_at_the_same_moment(
    tmp_path: Path, stack: ExitStack, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "_PORTS", range(free_port(), 65_536)[:1])  # all of them begin to look at the same one
    folders = [tmp_path / str(number) for number in range(12)]
    if how == "ports":
        folders = [too_long(folder) for folder in folders]
    with ThreadPoolExecutor(len(folders)) as pool:
        servers = list(pool.map(lambda folder: started(stack, folder), folders))
    assert all(server.url.startswith("unix:" if how == "sockets" else "redis:") for server in servers)
    for number, server in enumerate(servers):
        with client(server) as asking:
            asking.set("number", number)
    for number, server in enumerate(servers):
        with client(server) as asking:
            assert asking.get("number") == str(number), "each is a server of its own"


def test_it_is_reached_as_before_when_it_died(tmp_path: Path, stack: ExitStack) -> None:
    server = started(stack, too_long(tmp_path))
    with client(server) as asking:
        pid = int(str(asking.info("server")["process_id"]))
    url = server.url
    os.kill(pid, 9)
    wait_until(lambda: server.dead, what="it is dead")
    assert server.restart_if_dead()
    assert server.url == url
    with client(server) as asking:
        assert asking.ping()


def test_a_folder_in_the_place_of_the_private_one_that_is_not_ours_is_refused(tmp_path: Path, stack: ExitStack) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "private").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Failure, match="private is not a folder of this user"):
        started(stack, tmp_path / "data")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_server_that_an_older_version_left_behind_is_ended(tmp_path: Path, stack: ExitStack) -> None:
    # Its lock holds a port, and it has no password.
    port = free_port()
    with (tmp_path / "server.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"{port}\n")
        lock.flush()
        orphan = subprocess.Popen(
            [server_binary(), "--port", str(port), "--bind", "127.0.0.1", "--dir", ".", "--appendonly", "yes"],
            cwd=tmp_path,
            pass_fds=(lock.fileno(),),
            stdout=subprocess.DEVNULL,
        )
    stack.callback(orphan.wait)
    stack.callback(orphan.kill)

    def answers() -> bool:
        try:
            with redis.Redis(port=port) as asking:
                return bool(asking.set("kept", "1"))
        except redis.ConnectionError:
            return False

    wait_until(answers, what="it answers")
    server = started(stack, tmp_path)
    assert orphan.wait(30) == 0
    with client(server) as asking:
        assert asking.get("kept") == "1"
