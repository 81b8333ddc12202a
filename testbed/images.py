"""Images made here, without any registry: a busybox, and one that misbehaves as tests want it to."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from testbed.packages import find_busybox
from testbed.system import BedError

if TYPE_CHECKING:
    from testbed.beds import Bed

_SCRIPT = Path(__file__).parent / "image" / "eru-test"
_DIRECTORIES = ("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var", "www")
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    "etc/group": "root:x:0:\nnobody:x:65534:\n",
    "www/health": "ok\n",
}


class Image(NamedTuple):
    """An image; ``changes`` are lines of a Dockerfile that are applied when it is imported."""

    repository: str
    tag: str
    changes: tuple[str, ...]
    has_script: bool

    @property
    def reference(self) -> str:
        """As engines are asked for it."""
        return f"{self.repository}:{self.tag}"


IMAGES = (
    Image("busybox", "local", ("ENV PATH=/bin", 'CMD ["/bin/sh"]'), has_script=False),
    Image("eru-test", "local", ("ENV PATH=/bin", 'ENTRYPOINT ["/bin/eru-test"]', 'CMD ["sleep"]'), has_script=True),
)
DIGEST_LABEL = "eru.testbed.digest"


def ensure_archives(bed: Bed) -> None:
    """Write the file system of every image, where that is not there or another."""
    directory(bed).mkdir(exist_ok=True)
    for image in IMAGES:
        content = _file_system(image)
        path = archive(bed, image)
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


def directory(bed: Bed) -> Path:
    """Where the archives are."""
    return bed.directory / "images"


def archive(bed: Bed, image: Image) -> Path:
    """The file system of an image, as a tar file."""
    return directory(bed) / f"{image.repository}.tar"


def digest(bed: Bed, image: Image) -> str:
    """What tells whether a daemon has this very image."""
    content = archive(bed, image).read_bytes()
    return hashlib.sha256(content + "\n".join(image.changes).encode()).hexdigest()


def _file_system(image: Image) -> bytes:
    busybox = find_busybox()
    if busybox is None:
        raise BedError("no static busybox; install busybox-static")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in _DIRECTORIES:
            _add(tar, name, kind=tarfile.DIRTYPE, mode=0o1777 if name == "tmp" else 0o755)
        _add(tar, "bin/busybox", busybox.read_bytes(), mode=0o755)
        applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
        for applet in sorted(set(applets) - {"busybox"}):
            _add(tar, f"bin/{applet}", kind=tarfile.SYMTYPE, target="busybox")
        for name, text in _FILES.items():
            _add(tar, name, text.encode())
        if image.has_script:
            _add(tar, "bin/eru-test", _SCRIPT.read_bytes(), mode=0o755)
    return buffer.getvalue()


def _add(
    tar: tarfile.TarFile,
    name: str,
    content: bytes = b"",
    *,
    kind: bytes = tarfile.REGTYPE,
    mode: int = 0o644,
    target: str = "",
) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.linkname, entry.size = kind, mode, target, len(content)
    tar.addfile(entry, io.BytesIO(content))
