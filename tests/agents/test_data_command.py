"""`steptool data stabletoolbench`: fetched from a server on this machine, checked, and unpacked without trust."""

import gzip
import hashlib
import io
import json
import sqlite3
import tarfile
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agents.cli import main
from steptool_env.stabletoolbench.sample import SAMPLE
from steptool_env.trajectories.trajectories import read_trajectories
from tests.server_stub import QuietHandler, running
from toolserver.cache.catalog_store import unfinished_imports
from toolserver.errors import ConfigurationError, DataError
from toolserver.stabletoolbench import download as downloads
from toolserver.stabletoolbench.download import download
from toolserver.stabletoolbench.unpack import unpack


class Files(QuietHandler):
    """Serves one file with ranges; cuts the connection after `server.cut` bytes of an answer, if that is set."""

    def get(self) -> None:
        body, have = self.server.body, 0
        self.server.ranges.append(self.headers.get("range", ""))
        asked = self.headers.get("range", "")
        if asked and self.headers.get("if-range") == self.server.tag:
            have = int(asked.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if have else 200)
        if have:
            self.send_header("content-range", f"bytes {have}-{len(body) - 1}/{len(body)}")
        self.send_header("etag", self.server.tag)
        self.send_header("content-length", str(len(body) - have))
        self.end_headers()
        rest = body[have:]
        if self.server.cut:
            self.wfile.write(rest[: self.server.cut])
            self.close_connection = True
            return
        self.wfile.write(rest)


def serving(body: bytes, cut: int = 0) -> Any:
    return running(Files, body=body, cut=cut, tag='"one"', ranges=[])


def address(server: Any, name: str = "data.zip") -> str:
    return f"http://127.0.0.1:{server.server_port}/{name}"


@pytest.fixture(scope="module")
def archive() -> bytes:
    """The sample as GitHub packs a repository: in one folder, with a licence and files that are not data."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("StableToolBench-master/LICENSE", "\n      Apache License\n  Version 2.0\n")
        zipped.writestr("StableToolBench-master/server/main.py", "raise SystemExit")
        for path in sorted(SAMPLE.rglob("*.json")):
            zipped.write(path, f"StableToolBench-master/{path.relative_to(SAMPLE)}")
    return buffer.getvalue()


def test_an_archive_is_fetched_imported_and_played(
    archive: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "data"
    found = hashlib.sha256(archive).hexdigest()
    with serving(archive) as server:
        flags = ["data", "stabletoolbench", "--from", address(server), "--sha256", found, "--out", str(out)]
        main(flags)
        main(flags)  # what is there is not fetched again
        assert server.ranges == [""]
    printed = capsys.readouterr().out
    assert "Licence: Apache License" in printed
    assert f"SHA-256 {found}" in printed
    assert "Queries: 8 G1_instruction" in printed
    assert "calls of" in printed
    assert not list(out.rglob("*.py"))
    noted = json.loads((out / "SOURCES.json").read_text())
    assert [entry["sha256"] for entry in noted.values()] == [found]
    arguments = [f"queries={out / 'solvable_queries/test_instruction'}", f"cache={out / 'cache'}"]
    env = ["--env", "StepTool/StableToolBench-v0", "--agent", "random"]
    main(["evaluate", *env, "--env-args", "suite=all", *arguments, "--out", str(tmp_path / "fetched")])
    main(["evaluate", *env, "--env-args", "suite=all", "--out", str(tmp_path / "sample")])
    runs = [read_trajectories(tmp_path / name / "trajectories.jsonl").trajectories for name in ("fetched", "sample")]
    assert [trajectory.steps for trajectory in runs[0]] == [trajectory.steps for trajectory in runs[1]]


@pytest.mark.parametrize("broken", ["{", "[]"])
def test_a_broken_list_of_sources_is_named_before_anything_is_unpacked(
    broken: str, archive: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.zip").write_bytes(archive)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "SOURCES.json").write_text(broken)
    with pytest.raises(SystemExit):
        main(["data", "stabletoolbench", "--from", str(tmp_path / "data.zip"), "--out", str(tmp_path / "out")])
    assert "SOURCES.json: " in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["SOURCES.json"]


def test_an_import_that_was_interrupted_is_noted_in_the_cache(archive: bytes, tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(archive)
    command = ["data", "stabletoolbench", "--from", str(tmp_path / "data.zip"), "--out", str(tmp_path)]
    main([*command, "--quiet"])
    assert unfinished_imports(tmp_path / "cache") == []
    with closing(sqlite3.connect(tmp_path / "cache" / "cache.db")) as connection, connection:
        connection.execute("UPDATE Cache SET value = substr(value, 1, 30) WHERE rowid = 9")
    with pytest.raises(SystemExit):
        main([*command, "--quiet"])  # ends at the damaged entry
    assert unfinished_imports(tmp_path / "cache") == [str(tmp_path / "server")]


def test_an_interrupted_download_goes_on_where_it_ended(tmp_path: Path) -> None:
    body = bytes(range(256)) * 4000
    with serving(body, cut=300_000) as server:
        assert download(address(server), tmp_path / "f", max_bytes=10**7) == hashlib.sha256(body).hexdigest()
        assert server.ranges[0] == ""
        assert server.ranges[1:] == [f"bytes={300_000 * n}-" for n in range(1, 4)]
    assert (tmp_path / "f").read_bytes() == body
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_later_call_goes_on_with_the_same_file_and_starts_again_with_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_ATTEMPTS", 1)
    target, body = tmp_path / "f", bytes(range(256)) * 40
    for tag, asked in (('"one"', ["bytes=100-"]), ('"two"', ["bytes=100-"])):
        (tmp_path / "f.partial").write_bytes(body[:100])
        (tmp_path / "f.partial.tag").write_text('"one"')
        with serving(body) as server:
            server.tag = tag
            download(address(server), target, max_bytes=10**7)
            assert server.ranges == asked
        assert target.read_bytes() == body
        target.unlink()


def test_a_call_that_ends_before_another_file_begins_mixes_no_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk refuses the file once, after the server has sent the tag of another one."""
    old, new = b"o" * 1000, b"n" * 1000
    (tmp_path / "f.partial").write_bytes(old[:100])
    (tmp_path / "f.partial.tag").write_text('"old"')
    with serving(new) as server:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", _refusing(Path.open))
            with pytest.raises(OSError, match="no space left"):
                download(address(server), tmp_path / "f", max_bytes=10**7)
        download(address(server), tmp_path / "f", max_bytes=10**7)
    assert (tmp_path / "f").read_bytes() == new


def _refusing(opened: Any) -> Any:
    """`Path.open` that does not open partial files for writing."""

    def open_or_refuse(path: Path, mode: str = "r", *arguments: Any, **keywords: Any) -> Any:
        if path.suffix == ".partial" and "w" in mode:
            raise OSError("no space left on the device")
        return opened(path, mode, *arguments, **keywords)

    return open_or_refuse


def test_a_file_that_is_too_large_or_another_is_refused(tmp_path: Path) -> None:
    with serving(b"x" * 1000) as server:
        with pytest.raises(ConfigurationError, match="larger than 999 bytes"):
            download(address(server), tmp_path / "f", max_bytes=999)
        with pytest.raises(DataError, match="its SHA-256 is"):
            download(address(server), tmp_path / "f", max_bytes=1000, sha256="0" * 64)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".tag"]
    with pytest.raises(DataError, match=r"cannot be fetched \(ConnectError"):
        download(address(server), tmp_path / "g", max_bytes=10)


def zipped(path: Path, *members: tuple[Any, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


GOOD = ("a/solvable_queries/test_instruction/G1_tool.json", "[]")


@pytest.mark.parametrize(
    "name",
    ["../tools/C/t.json", "/tools/C/t.json", "a/../../tools/C/t.json", "..\\tools\\C\\t.json", "C:/tools/C/t.json"],
)
def test_a_member_that_leads_out_of_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="leads out of the folder"):
        unpack(zipped(tmp_path / "a.zip", (name, "{}")), tmp_path / "out" / "deep", max_bytes=10**6)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip"]


def test_links_are_left_out(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("tools/C/t.json")
    link.external_attr = 0o120777 << 16
    archive = zipped(tmp_path / "a.zip", GOOD, (link, "/etc/passwd"))
    assert unpack(archive, tmp_path / "zip", max_bytes=10**6).files == {"solvable_queries/test_instruction": 1}
    tarred = tmp_path / "a.tar.gz"
    with tarfile.open(tarred, "w:gz") as tar:
        info = tarfile.TarInfo("x/tools/C/t.json")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
        info = tarfile.TarInfo(GOOD[0])
        info.size = 2
        tar.addfile(info, io.BytesIO(b"[]"))
    assert unpack(tarred, tmp_path / "tar", max_bytes=10**6).files == {"solvable_queries/test_instruction": 1}
    assert not list((tmp_path / "zip").rglob("t.json")) + list((tmp_path / "tar").rglob("t.json"))


def test_an_archive_that_grows_too_much_is_stopped(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "a.zip", ("tools/C/t.json", "0" * 20_000_000))
    with pytest.raises(ConfigurationError, match="unpacks to more than 16,777,216 bytes"):
        unpack(bomb, tmp_path / "out", max_bytes=10**9)
    with pytest.raises(ConfigurationError, match="more than 5 bytes"):
        unpack(zipped(tmp_path / "b.zip", ("tools/C/t.json", "123456")), tmp_path / "out", max_bytes=5)


def test_a_tar_archive_is_bounded_in_what_it_leaves_out_and_in_its_names(tmp_path: Path) -> None:
    """Neither is a file that is written, and both are read."""
    for name, kind, message in (("more", tarfile.REGTYPE, "unpacks to more"), ("name", tarfile.XHDTYPE, "a name of")):
        path = tmp_path / f"{name}.tar.gz"
        with gzip.open(path, "wb") as file:
            info = tarfile.TarInfo("other.bin")
            info.type, info.size = kind, 60_000_000
            file.write(info.tobuf())
            for _ in range(60):
                file.write(bytes(10**6))
            file.write(bytes(1024))
        with pytest.raises((ConfigurationError, DataError), match=message):
            unpack(path, tmp_path / "out", max_bytes=10**9)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar.bz2", "a.tar.xz", "a.tar"])
def test_every_kind_of_tar_archive_is_read_and_a_damaged_one_is_reported(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with tarfile.open(path, "w:" + name.partition("tar.")[2]) as tar:
        for number in range(50):
            info = tarfile.TarInfo(f"tools/C/{number}.json")
            info.size = 1000
            tar.addfile(info, io.BytesIO(bytes(range(200)) * 5))
    assert unpack(path, tmp_path / "out", max_bytes=10**6).files == {"server/tools": 50}
    if name != "a.tar":
        content = bytearray(path.read_bytes())
        content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
        path.write_bytes(content)
        with pytest.raises(DataError, match="cannot be unpacked"):
            unpack(path, tmp_path / "out", max_bytes=10**6)


def test_a_header_that_cannot_be_read_is_reported_as_damage(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("tools/C/å.json", "{}"))
    path.write_bytes(path.read_bytes().replace("å".encode(), b"\xff\xff"))
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack(path, tmp_path / "out", max_bytes=10**6)
    for headers in ({"GNU.sparse.size": "many"}, {"GNU.sparse.map": "0,one", "GNU.sparse.size": "1"}):
        with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
            info = tarfile.TarInfo("tools/C/t.json")
            info.pax_headers = headers
            tar.addfile(info)
        with pytest.raises(DataError, match="cannot be unpacked"):
            unpack(tmp_path / "a.tar", tmp_path / "out", max_bytes=10**6)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"plain text", "neither a zip nor a tar"), (b"PK\x05\x06" + bytes(18), "holds no solvable")],
)
def test_what_is_no_data_is_reported(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.zip").write_bytes(content)
    with pytest.raises(SystemExit, match="2"):
        main(["data", "stabletoolbench", "--from", str(tmp_path / "f.zip"), "--out", str(tmp_path / "out")])
    assert message in capsys.readouterr().err
