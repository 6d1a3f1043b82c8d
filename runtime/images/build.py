"""Images built on the spot from files, without a registry: the same input gives the same digest, always."""

from __future__ import annotations

import gzip
import io
import json
import stat
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.images import manifest
from runtime.images.blobs import Blobs
from runtime.model import ImageConfig

EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class Entry:
    """One path of a layer: a file with `content`, a symbolic link to `link`, or (mode with S_IFDIR) a directory."""

    content: bytes = b""
    mode: int = 0o755
    link: str = ""
    uid: int = 0
    gid: int = 0


LayerFiles = Mapping[str, bytes | Path | Entry]


def link(target: str) -> Entry:
    """A symbolic link."""
    return Entry(link=target)


def directory(mode: int = 0o755) -> Entry:
    """An empty directory."""
    return Entry(mode=stat.S_IFDIR | mode)


def build_image(
    layout: Path, ref: str, layers: Sequence[LayerFiles], config: ImageConfig | None = None, *, compress: bool = True
) -> str:
    """Write an image into the OCI layout directory `layout` under the name `ref`; the digest of its manifest.

    A layer maps paths to content: bytes (mode 0755), a Path whose file is taken with its mode, or an Entry.
    A name that begins with `.wh.` hides the rest of that name in the layers below.
    """
    blobs = Blobs(layout)
    tars = [tar_of(files) for files in layers]
    descriptors = [_layer(blobs, tar, compress) for tar in tars]
    diff_ids = [manifest.digest_of(tar) for tar in tars]
    digest = manifest_of(blobs, descriptors, diff_ids, config or ImageConfig())
    _enter(layout, ref, _descriptor(blobs, blobs.read(digest), manifest.OCI_MANIFEST))
    return digest


def manifest_of(
    blobs: Blobs, layers: Sequence[Mapping[str, object]], diff_ids: Sequence[str], config: ImageConfig
) -> str:
    """Write manifest and configuration of these layers; the digest of the manifest."""
    configured = _descriptor(blobs, _json(_config(config, list(diff_ids))), manifest.OCI_CONFIG)
    return blobs.add(
        _json({"schemaVersion": 2, "mediaType": manifest.OCI_MANIFEST, "config": configured, "layers": layers})
    )


def tar_of(files: LayerFiles) -> bytes:
    """A tar of these files, their parents first, without a trace of when and by whom it was made."""
    buffer = io.BytesIO()
    made: set[str] = set()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(files):
            path = name.strip("/")
            for parent in [str(p) for p in reversed(Path(path).parents) if str(p) != "."]:
                if parent not in made and parent not in files:
                    _put(tar, parent, directory())
                    made.add(parent)
            _put(tar, path, _entry(files[name]))
    return buffer.getvalue()


def _entry(given: bytes | Path | Entry) -> Entry:
    if isinstance(given, Path):
        return Entry(given.read_bytes(), stat.S_IMODE(given.stat().st_mode))
    return Entry(given) if isinstance(given, bytes) else given


def _put(tar: tarfile.TarFile, path: str, entry: Entry) -> None:
    info = tarfile.TarInfo(path)
    info.mode, info.uid, info.gid = stat.S_IMODE(entry.mode), entry.uid, entry.gid
    if entry.link:
        info.type, info.linkname = tarfile.SYMTYPE, entry.link
    elif stat.S_ISDIR(entry.mode):
        info.type = tarfile.DIRTYPE
    else:
        info.size = len(entry.content)
    tar.addfile(info, io.BytesIO(entry.content))


def _layer(blobs: Blobs, tar: bytes, compress: bool) -> dict[str, object]:
    if not compress:
        return _descriptor(blobs, tar, manifest.OCI_LAYER)
    return _descriptor(blobs, gzip.compress(tar, compresslevel=1, mtime=0), f"{manifest.OCI_LAYER}+gzip")


def _config(config: ImageConfig, diff_ids: list[str]) -> dict[str, object]:
    return {
        "architecture": manifest.architecture(),
        "os": "linux",
        "created": EPOCH,
        "config": {
            "Entrypoint": list(config.entrypoint) or None,
            "Cmd": list(config.command) or None,
            "Env": [f"{key}={value}" for key, value in config.env.items()],
            "User": config.user,
            "WorkingDir": config.working_dir,
            "ExposedPorts": {port: {} for port in config.exposed_ports},
            "Labels": config.labels,
            "StopSignal": config.stop_signal,
            **({"Volumes": {target: {} for target in config.volumes}} if config.volumes else {}),
        },
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created": EPOCH, "created_by": "hecd"} for _ in diff_ids],
    }


def _descriptor(blobs: Blobs, data: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": blobs.add(data), "size": len(data)}


def _enter(layout: Path, ref: str, descriptor: dict[str, object]) -> None:
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    index = layout / "index.json"
    entries = json.loads(index.read_bytes())["manifests"] if index.exists() else []
    others = [e for e in entries if e.get("annotations", {}).get(manifest.REF_NAME) != ref]
    entry = {**descriptor, "annotations": {manifest.REF_NAME: ref}}
    index.write_bytes(_json({"schemaVersion": 2, "manifests": [*others, entry]}))


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
