"""Images on all hosts of a lab: brought to the user's shell first, as the hosts themselves reach no registry."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from registrator.agent import local
from registrator.demo import app
from registrator.lab.namespace import Namespace
from registrator.lab.plan import Host, Lab


def bring(lab: Lab, what: str | Path) -> list[str]:
    """Load the images of a file or folder, or pull one by name; their names. Raises EngineFault, NotFound."""
    with tempfile.TemporaryDirectory(dir=lab.folder) as draft:
        with local.opened(lab.desk_settings) as here:
            if isinstance(what, Path):
                names, source = here.load(what), what
            else:
                names, source = [what], Path(draft) / "image.tar"
                here.fetch(what, source)
        running = [host for host in lab.hosts if Namespace(lab.namespace(host)).exists]
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(lambda host: _load(lab, host, source), running))
    return names


def load_sample(lab: Lab) -> None:
    """Both releases of the sample app."""
    with tempfile.TemporaryDirectory(dir=lab.folder) as draft:
        for release in (1, 2):
            app.build(Path(draft) / str(release), release)
            bring(lab, Path(draft) / str(release))


def _load(lab: Lab, host: Host, source: Path) -> None:
    def load() -> None:
        with local.opened(lab.settings(host)) as there:
            there.load(source)

    Namespace(lab.namespace(host)).inside(load)
